"""Where benchmarks take place: fresh databases and folders, the report, and whether to be quick about it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.bench.server import Server
from tests.bench.table import Report
from tests.waiting import eventually

SQLITE, POSTGRESQL = "sqlite", "postgresql"
LATENCY_S = 0.05
"""What the upstream takes for each answer."""

BODY = {"model": "gemini-3.8-flash", "input": "Say hello."}


@dataclass(frozen=True, slots=True)
class Site:
    """A folder, and a database of its own; the URL is empty for SQLite, which lies in the folder."""

    kind: str
    folder: Path
    database_url: str


@dataclass(frozen=True, slots=True)
class Ground:
    """What every benchmark is given."""

    server: Server
    report: Report
    databases: tuple[str, ...]

    @property
    def is_quick(self) -> bool:
        """Whether a small run will do."""
        return self.report.is_quick

    @property
    def main(self) -> str:
        """The kind of database where one must do."""
        return self.databases[-1]

    @contextmanager
    def site(self, kind: str) -> Iterator[Site]:
        """A place that is taken away again."""
        url = self.server.fresh() if kind == POSTGRESQL else ""
        with tempfile.TemporaryDirectory(prefix="nightdesk-bench-") as folder:
            try:
                yield Site(kind, Path(folder), url)
            finally:
                if url:
                    self.server.drop(url)


def let_pass(seconds: float) -> None:
    """Let time pass, where time itself is what is measured."""
    until = monotonic() + seconds
    eventually(lambda: monotonic() > until, within_s=seconds + 5)
