"""Proves that the migrations make what the models say, on an empty SQLite and PostgreSQL: `python -m tests.drift`.

Alembic compares tables, columns and types; the definitions of indexes, predicates included, are compared word for word.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

import worker.models  # noqa: F401  (it fills SQLModel.metadata)
from tests.postgres import Postgres
from worker.database import HEAD, MIGRATIONS, Database, upgrade
from worker.settings import Settings

INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}


def differences(migrated_url: str, modelled_url: str) -> list[str]:
    """What the migrations make otherwise than the models, given the URLs of two empty databases of one kind."""
    migrated, modelled = _open(migrated_url), _open(modelled_url)
    try:
        upgrade(migrated)
        with modelled.engine.begin() as connection:
            SQLModel.metadata.create_all(connection)
        return [*_of_tables(migrated), *_of_indexes(migrated, modelled)]
    finally:
        migrated.close()
        modelled.close()


def _open(url: str) -> Database:
    return Database(Settings(database_url=url, _env_file=None).database)


def _of_tables(migrated: Database) -> Iterator[str]:
    with migrated.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        yield from map(str, compare_metadata(context, SQLModel.metadata))


def _of_indexes(migrated: Database, modelled: Database) -> Iterator[str]:
    has, wants = _indexes(migrated), _indexes(modelled)
    for name in sorted((has.keys() | wants.keys()) - {"alembic_version_pkc"}):
        if has.get(name) != wants.get(name):
            yield f"index {name}: the migrations make {has.get(name)}, the models {wants.get(name)}"


def _indexes(database: Database) -> dict[str, str]:
    with database.engine.connect() as connection:
        found = connection.execute(sa.text(INDEXES[connection.dialect.name]))
        return {name: " ".join(definition.split()) for name, definition in found}


def main() -> int:
    """Print each difference; 1 where there is one."""
    with tempfile.TemporaryDirectory() as folder:
        migrated, modelled = (f"sqlite:///{Path(folder) / name}.db" for name in ("migrated", "modelled"))
        found = [f"sqlite: {difference}" for difference in differences(migrated, modelled)]
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if newest != HEAD:
        found.append(f"worker.database.HEAD is {HEAD}, the newest migration is {newest}")
    with Postgres() as server:
        found += [f"postgresql: {difference}" for difference in differences(server.empty(), server.empty())]
    for difference in found:
        print(difference, file=sys.stderr)  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
