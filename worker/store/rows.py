"""Many rows in one statement: they travel as one JSON document, which the database reads as a table.

One parameter, however many rows there are, so that a statement is compiled and planned once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Session

POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]


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


def _document(rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON whose times are written as SQLite keeps them; PostgreSQL reads them in its session's zone, UTC.

    NUL is left out: PostgreSQL would refuse the whole batch for one.
    """
    return orjson.dumps([{name: _plain(value) for name, value in row.items()} for row in rows]).decode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value.replace("\x00", "") if isinstance(value, str) else value
