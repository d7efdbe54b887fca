"""Connections that wait in the pool: they break unseen, and reading leaves nothing open on them."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.integration.store.conftest import Store
from tests.postgres import Postgres
from worker.models import Job


def pid(session: Session) -> int:
    return int(session.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


@pytest.fixture
def served_store(postgres: Postgres) -> Iterator[Store]:
    """A store on a server, whose connections can break."""
    made = Store(postgres.fresh())
    made.open()
    yield made
    for database in made.databases:
        database.close()
    postgres.drop(made.url)


def test_a_connection_that_was_closed_meanwhile_is_replaced(served_store: Store) -> None:
    held = served_store.write(pid)
    with served_store.open().write() as session:
        session.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": held})

    after = served_store.write(pid)

    assert after != held


def test_reading_opens_no_transaction(served_store: Store) -> None:
    with served_store.database.read() as session:
        session.scalars(sa.select(Job)).all()
        connection = session.connection().connection.dbapi_connection
        assert connection is not None
        state = connection.info.transaction_status.name

    assert state == "IDLE"
