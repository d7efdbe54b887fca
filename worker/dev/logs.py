"""Log files of the parts of the stack: appended to by the part itself, kept short by its supervisor."""

import os
import shutil
from pathlib import Path
from typing import IO

LIMIT_BYTES = 10 * 1024 * 1024


class Log:
    """One part's log; the part writes to it through a descriptor in append mode."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self._begins = 0

    def open(self) -> IO[bytes]:
        """Open it for a part that starts now."""
        sink = self.path.open("ab")
        self._begins = sink.tell()
        return sink

    def tail(self, lines: int) -> list[str]:
        """The last lines that the part wrote since its last start."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as source:
            source.seek(self._begins)
            return source.read().decode(errors="replace").splitlines()[-lines:]

    def rotate(self) -> None:
        """Over the limit, keep one older file; what is written in between the copy and the cut is lost."""
        if self.path.exists() and self.path.stat().st_size > self._limit_bytes:
            shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
            os.truncate(self.path, 0)
            self._begins = 0
