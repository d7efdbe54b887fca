"""The schema's age, and the making of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.lasting import KINDS
from tests.postgres import Postgres
from worker.database import HEAD, Database, pending, upgrade
from worker.settings import Settings


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it, of the kind that the parameter names."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.empty()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(Settings(database_url=url, _env_file=None).database)
    yield database
    database.close()


@pytest.mark.parametrize("url", KINDS, indirect=True)
@pytest.mark.parametrize(("version", "is_pending"), [("0001", True), (HEAD, False), ("9999", False)])
def test_a_schema_is_behind_where_it_is_older_not_where_the_next_release_made_it(
    url: str, version: str, *, is_pending: bool
) -> None:
    with opened(url) as database:
        assert pending(database)
        upgrade(database)
        with database.write() as session:
            session.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})

        assert pending(database) is is_pending


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_migration_may_take_longer_than_any_other_statement(url: str) -> None:
    limits = list[list[str]]()

    def look(connection: sa.Connection) -> None:
        names = ("statement_timeout", "lock_timeout")
        limits.append([connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names])

    with opened(url) as database:
        sa.event.listen(database.engine, "commit", look)
        upgrade(database)
        with database.write() as session:
            session.execute(sa.text("SELECT 1"))

    assert limits == [["0", "10s"], ["30s", "10s"]]
