"""Many rows in one statement: they travel as one JSON document, which the database reads as a table.

One parameter, however many rows there are, so that a statement is compiled and planned once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

from worker.models import Sealed, UtcDateTime

FRESH = {"populate_existing": True}
"""Rows as the database gives them back, whatever the session has seen of them before."""

POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]

DOCUMENT_BYTES = 16 * 1024 * 1024
"""About what one document holds at most: PostgreSQL reads it whole."""

LARGE_BYTES = 1024 * 1024
"""What a column of bytes may have at most to travel so."""


def given(session: Session, columns: Iterable[sa.ColumnClause[Any]], rows: Sequence[Mapping[str, Any]]) -> sa.CTE:
    """The rows as a table with these columns, named as in their own table, to join an UPDATE to."""
    columns = list(columns)
    if session.get_bind().dialect.name == "postgresql":
        fields = ", ".join(f"{column.name} {column.type.compile(POSTGRES)}" for column in columns)
        source = f"SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r({fields})"  # noqa: S608 - constants
    else:
        fields = ", ".join(f"json_extract(value, '$.{column.name}') AS {column.name}" for column in columns)
        source = f"SELECT {fields} FROM json_each(:rows)"  # noqa: S608 - constants
    named = [sa.column(column.name, column.type) for column in columns]
    return sa.text(source).bindparams(rows=_document(rows)).columns(*named).cte("given")


def once(chosen: sa.Select[Any]) -> sa.CTE:
    """The rows that are chosen, once for the whole statement: PostgreSQL may look for a LIMIT in a subquery anew."""
    return chosen.cte("chosen").prefix_with("MATERIALIZED", dialect="postgresql")


def insert_into(session: Session, model: type[SQLModel]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT of this database's dialect, which can say what becomes of a conflict."""
    return sqlite.insert(model) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(model)


def insert(session: Session, model: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write these rows into a model's table, each with the same columns: all of them that have no empty value."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        connection.execute(sa.insert(model.__table__), rows)
        return
    large, small = ([row for row in rows if _is_large(row) is wanted] for wanted in (True, False))
    if large:
        # In a document it would be in memory several times, twice as long.
        connection.execute(sa.insert(model.__table__), large)
    if small:
        # Each row as parameters of its own costs the client three times as much.
        statement = _inserting(model.__table__, tuple(small[0]))
        for document in _documents(connection.dialect, model.__table__.c, small):
            connection.execute(statement, {"rows": document})


@lru_cache(64)
def _inserting(table: sa.Table, names: tuple[str, ...]) -> sa.TextClause:
    fields = ", ".join(f"{name} {table.c[name].type.compile(POSTGRES)}" for name in names)
    columns, source = ", ".join(names), f"json_to_recordset(CAST(:rows AS json)) AS r({fields})"
    return sa.text(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {source}")  # noqa: S608 - constants


def _documents(dialect: sa.Dialect, columns: Any, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The rows as JSON arrays of a bounded size, with what our own column types make of their values."""
    own = [(name, columns[name].type) for name in rows[0] if isinstance(columns[name].type, (Sealed, UtcDateTime))]
    some, size = list[bytes](), 0
    for row in rows:
        made = {name: kind.process_bind_param(row[name], dialect) for name, kind in own}
        some.append(orjson.dumps({**row, **made}, default=_hex))
        size += len(some[-1])
        if size >= DOCUMENT_BYTES:
            yield f"[{b','.join(some).decode()}]"
            some, size = [], 0
    if some:
        yield f"[{b','.join(some).decode()}]"


def _is_large(row: Mapping[str, Any]) -> bool:
    return any(isinstance(value, bytes) and len(value) > LARGE_BYTES for value in row.values())


def _hex(value: bytes) -> str:
    """Bytes as PostgreSQL reads them."""
    return f"\\x{value.hex()}"


def _document(rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON whose times are written as SQLite keeps them; PostgreSQL reads them in its session's zone, UTC.

    NUL is left out: PostgreSQL would refuse the whole batch for one.
    """
    return orjson.dumps([{name: _plain(value) for name, value in row.items()} for row in rows]).decode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value.replace("\x00", "") if isinstance(value, str) else value
