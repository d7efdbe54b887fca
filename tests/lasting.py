"""One migrated database of each kind for many tests, emptied before each: a new one costs more than a test."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from sqlmodel import SQLModel

from tests.conftest import ENCRYPTION_KEY
from worker.database import Database, upgrade
from worker.settings import Settings
from worker.vault import Vault

KINDS = ("sqlite", "postgresql")


@contextmanager
def lasting(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    """The URL and the database of the kind that the fixture's parameter names."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    url = postgres.fresh() if postgres else f"sqlite:///{factory.mktemp('lasting') / 'nightdesk.db'}"
    database = Database(Settings(database_url=url, _env_file=None).database, sealer=Vault(SecretStr(ENCRYPTION_KEY)))
    if database.is_sqlite:
        upgrade(database)
    yield url, database
    database.close()
    if postgres:
        postgres.drop(url)


def empty(database: Database) -> None:
    """Take every row away."""
    with database.write() as session:
        for table in reversed(SQLModel.metadata.sorted_tables):
            session.execute(table.delete())
