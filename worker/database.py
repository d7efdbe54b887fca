"""Engines, transactions and migrations for SQLite and PostgreSQL. Knows no query.

SQLite writes begin IMMEDIATE on one connection a process: SQLAlchemy's deferred default silently lost updates under
concurrency, and SQLite's own lock queue is unfair. Reads have an engine of their own that cannot write.
"""

import select
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from worker.errors import SettingsError, Unavailable
from worker.models import Sealer

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0005"
"""The newest migration: what the schema of this release is called."""

BUSY_S = 10
LOST = (OperationalError, InterfaceError, PoolTimeout)
PRAGMAS = ("journal_mode=wal", "synchronous=full", f"busy_timeout={BUSY_S * 1000}", "foreign_keys=on")
POSTGRES_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
)


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


JSON: dict[str, Any] = {"json_serializer": _dumped, "json_deserializer": orjson.loads}
"""The same JSON as everywhere else: PostgreSQL gives 1e20 back as an integer, which orjson would read but not write."""


class Database:
    """Write and read transactions on one database; `Unavailable` when it cannot be reached or will not answer.

    Without a `sealer` what is sealed is neither sealed nor opened: for those who look at other things only.
    """

    def __init__(self, url: str, *, connections: int = 16, sealer: Sealer | None = None) -> None:
        _check(url)
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _sqlite(url, write=True) if self.is_sqlite else _postgres(url, connections)
        self.reader = _sqlite(url, write=False, connections=connections) if self.is_sqlite else _reading(self.engine)
        for engine in (self.engine, self.reader):
            engine.dialect.sealer = sealer  # type: ignore[attr-defined]

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back by any error."""
        with _reachable(), _session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """To read from, on SQLite one snapshot, on PostgreSQL one for each statement; never for writing."""
        with _reachable(), _session(self.reader) as session:
            yield session

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()
        self.reader.dispose()


def _session(engine: sa.Engine) -> Session:
    # A statement that changes rows shall not look for them among the objects that were read before.
    return Session(engine, expire_on_commit=False, autoflush=False, execution_options={"synchronize_session": False})


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except LOST as error:
        raise Unavailable(f"the database does not answer ({type(error).__name__})") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(f"the database closed the connection ({type(error).__name__})") from error
        raise _hushed(error) from None


def _hushed(error: DBAPIError) -> DBAPIError:
    """The same error without the row that PostgreSQL quotes in it: its text goes into logs and Flower."""
    about = getattr(error.orig, "diag", None)
    known = [getattr(about, name, None) for name in ("sqlstate", "table_name", "column_name", "constraint_name")]
    if about is not None:
        error.args = (" ".join([type(error.orig).__name__, *filter(None, known)]),)
    return error


def _check(url: str) -> None:
    """Raise SettingsError for what is no URL of a database that is known here."""
    try:
        name = sa.make_url(url).drivername
    except (sa.exc.ArgumentError, ValueError):
        # Its text may quote a piece of the password.
        name = ""
    if name not in {"sqlite", "postgresql+psycopg"}:
        raise SettingsError("NIGHTDESK_DATABASE_URL: must be postgresql://…, what is special in a password as %XX")


def _sqlite(url: str, *, write: bool, connections: int = 1) -> sa.Engine:
    path = sa.make_url(url).database
    if not path or path == ":memory:":
        raise SettingsError("NIGHTDESK_DATABASE_URL: SQLite needs a file, since several processes share it")
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=30,
        hide_parameters=True,
        **JSON,
        connect_args={"check_same_thread": False, "timeout": BUSY_S},
    )
    pragmas = PRAGMAS if write else (*PRAGMAS[2:], "query_only=on")

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgres(url: str, connections: int) -> sa.Engine:
    # hide_parameters: an error's text would carry prompts and secrets into logs and Flower.
    engine = sa.create_engine(
        url,
        pool_size=connections,
        max_overflow=4,
        pool_timeout=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        **JSON,
        connect_args={"connect_timeout": 5, "options": POSTGRES_OPTIONS},
    )
    ping = engine.dialect.do_ping

    def look(dbapi_connection: Any) -> bool:
        return not _has_heard(dbapi_connection) or ping(dbapi_connection)

    engine.dialect.do_ping = look  # type: ignore[method-assign]
    return engine


def _has_heard(connection: Any) -> bool:
    """Whether something came while nobody listened: its end, as a rule. Otherwise a ping would be wasted."""
    if connection.closed:
        return True
    looker = select.poll()
    looker.register(connection.pgconn.socket, select.POLLIN)
    return bool(looker.poll(0))


def _reading(engine: sa.Engine) -> sa.Engine:
    """The same pool without transactions, which cost two round trips and give a reader nothing: READ COMMITTED."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def take_turns(connection: sa.Connection) -> None:
    """Let one transaction at a time pass here, over all processes; SQLite's write transactions do so by themselves."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7210131)")


def upgrade(database: Database) -> None:
    """Bring the schema to this release's; safe to run from several processes at once."""
    # Ten megabytes that the processes which only look at the schema's age do not need.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _reachable(), database.engine.begin() as connection:
        if not database.is_sqlite:
            # An index over tens of millions of rows takes minutes; who waits for a lock still gives up.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        take_turns(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def pending(database: Database) -> bool:
    """Whether the schema is older than this release; a newer one is fit for it, too."""
    with _reachable(), database.reader.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return True
        return str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")) or "") < HEAD
