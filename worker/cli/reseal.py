"""`nightdesk reseal`: seals everything in the database with the first encryption key, so that others may be dropped."""

import typer

BATCH = 50


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
        with database.write() as session:
            secrets = sealings.secrets(session, vault.reseal)
        documents, found = 0, [("", 0)]
        while found:
            with database.write() as session:
                found = sealings.rewrite(session, after=found[-1], limit=BATCH)
            documents += len(found)
    print(f"{secrets} secrets and {documents} requests are sealed with the first key")
