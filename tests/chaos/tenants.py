"""The projects of an installation: the keys of their clients and operators, and what signs for their jobs' URLs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.stack import Stack
from worker import keys
from worker.database import Database
from worker.store import holders, projects
from worker.vault import Vault
from worker.webhooks import signing

NEIGHBOUR = "neighbour"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project, one key of it, and its webhook secret."""

    name: str
    project_id: str
    key_id: str
    key: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        """What its clients send with every request."""
        return {"Authorization": f"Bearer {self.key}"}


def settle(stack: Stack, database: Database, number: int) -> list[Tenant]:
    """The project that every installation has, and others up to this number."""
    vault = Vault(stack.settings.encryption_key)
    others = [(f"{NEIGHBOUR}-{place}", keys.issue()) for place in range(1, number)]
    now = datetime.now(UTC)
    with database.write() as session:
        for name, issued in others:
            sealed = vault.seal(signing.new_secret())
            project = projects.create_project(session, name, sealed_secret=sealed, now=now)
            projects.add_key(session, project.id, name, issued, scopes=[*keys.SCOPES], now=now)
    given = {projects.DEFAULT: stack.key} | {name: issued.token for name, issued in others}
    return list(_known(database, vault, given))


def _known(database: Database, vault: Vault, given: dict[str, str]) -> Iterator[Tenant]:
    with database.read() as session:
        for name, token in given.items():
            project, digest = projects.by_name(session, name), keys.digest(token)
            assert project is not None
            holder = holders.of_digests(session, [digest], datetime.now(UTC))[digest]
            yield Tenant(name, project.id, holder.key_id, token, vault.open(project.webhook_secret))
