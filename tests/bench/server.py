"""PostgreSQL as one would run it: on the disk, with fsync and autovacuum; the tests' server does without them."""

import subprocess

from tests import postgres
from tests.postgres import Postgres

SETTINGS = {"listen_addresses": "", "max_connections": "200", "max_wal_size": "4GB"}


class Server(Postgres):
    """The tests' server under its own defaults."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, in_memory=False)

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
