"""PostgreSQL as one would run it: on the disk, with fsync and autovacuum; the tests' server does without them."""

import signal
import subprocess
import tempfile
from itertools import count
from pathlib import Path

from tests import postgres
from tests.postgres import NO_GROUPS, NOBODY, Postgres
from tests.waiting import eventually
from worker.dev.tether import spawn

SETTINGS = {"listen_addresses": "", "max_connections": "200", "max_wal_size": "4GB"}


class Server(Postgres):
    """The tests' server under its own defaults."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="nightdesk-pg-"))
        self._program = Path(tempfile.mkdtemp(prefix="nightdesk-pg-"))
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server on the data it has and wait until it answers."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = spawn(
                [self._binaries / "postgres", "-D", self._data, "-k", self._folder, *settings],
                ending=signal.SIGQUIT,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=NOBODY,
                group=NOBODY,
                extra_groups=NO_GROUPS,
            )
        eventually(self._answers, within_s=20, what="PostgreSQL's start")

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The server's main process, to measure it and its children."""
        return [self._process] if self._process else []

    @staticmethod
    def version() -> str:
        """As `postgres --version` gives it."""
        program = postgres._installed() / "postgres"
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        return shown.split()[-1]
