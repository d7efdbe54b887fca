"""The types of columns, and indexes over a part of a table."""

from datetime import UTC, datetime
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

Json = sa.JSON().with_variant(JSONB(), "postgresql")


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware UTC moment; SQLite keeps it as text that sorts by time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Naive times are refused: they mean another moment on another machine."""
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """SQLite gives back what was stored without its zone."""
        del dialect
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Sealer(Protocol):
    """What seals bytes on their way into the database and opens them on their way out."""

    def wrap(self, document: bytes) -> bytes:
        """Seal."""

    def unwrap(self, stored: bytes) -> bytes:
        """Open."""


class Sealed(sa.TypeDecorator[bytes]):
    """Bytes that lie sealed in the database, where its engine has a sealer (`database.Database`)."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Seal."""
        sealer: Sealer | None = getattr(dialect, "sealer", None)
        return value if sealer is None or value is None else sealer.wrap(value)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Open; what was stored before there was a sealer is as it was."""
        sealer: Sealer | None = getattr(dialect, "sealer", None)
        return value if sealer is None or value is None else sealer.unwrap(bytes(value))


def partial(name: str, predicate: str, *columns: str) -> sa.Index:
    """An index over the rows that the predicate names."""
    return sa.Index(name, *columns, sqlite_where=sa.text(predicate), postgresql_where=sa.text(predicate))
