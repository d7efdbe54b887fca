"""`nightdesk reseal`: seals everything in the database with the first encryption key, so that others may be dropped."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from worker.database import Database
    from worker.store.sealings import Document

BATCH, ENOUGH_BYTES = 50, 4 * 1024 * 1024
"""In one transaction."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reseal")(reseal)


def reseal() -> None:
    """Seal everything anew with the first of several encryption keys. Safe beside running processes, and to repeat."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import sealings  # noqa: PLC0415
    from worker.vault import Vault  # noqa: PLC0415

    settings = operator.settings()
    vault = Vault(settings.encryption_key)
    with operator.opened(settings, sealer=vault) as database:
        requests, results = (_rewritten(database, table) for table in sealings.DOCUMENTS)
        # Last, for the check value is among them: until all is done, nothing starts without the old key.
        with database.write() as session:
            secrets = sealings.secrets(session, vault.reseal)
    print(f"{secrets} secrets, {requests} requests and {results} results are sealed with the first key")


def _rewritten(database: "Database", table: "Document") -> int:
    """Seal the documents of a table anew, a batch in each transaction; gives back how many there are."""
    from worker.store import sealings  # noqa: PLC0415

    done, found = 0, [("", 0)]
    while found:
        with database.write() as session:
            found = sealings.rewrite(session, table, after=found[-1], limit=BATCH, enough_bytes=ENOUGH_BYTES)
        done += len(found)
    return done
