"""The append-only file that lets interactions survive a restart or a SIGKILL: one JSON line for each change.

A write reaches the operating system before the answer leaves, so that killing the process loses nothing;
a torn last line, as a power cut leaves it, is dropped.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from worker.dev.simulator.faults import Rule
from worker.dev.simulator.record import Record
from worker.dev.simulator.script import Script


class Journal:
    """An open journal file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def read(self) -> list[dict[str, Any]]:
        """Return everything that was written, oldest first."""
        entries: list[dict[str, Any]] = []
        for line in self._path.read_bytes().splitlines():
            try:
                entries.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue
        return entries

    def write(self, what: str, **values: Any) -> None:
        """Append one entry."""
        self._file.write(orjson.dumps({"what": what, **values}) + b"\n")

    def rewrite(self, records: list[Record], advanced_s: float) -> None:
        """Replace the file with just these records, in one atomic step."""
        fresh = self._path.with_name(self._path.name + ".new")
        lines = [orjson.dumps({"what": "clock", "advanced_s": advanced_s})]
        lines += [orjson.dumps({"what": "record", "record": record_to(record)}) for record in records]
        fresh.write_bytes(b"\n".join(lines) + b"\n")
        self._file.close()
        fresh.replace(self._path)
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def record_to(record: Record) -> dict[str, Any]:
    """Return a record as JSON."""
    return asdict(record)


def record_from(data: dict[str, Any]) -> Record:
    """Build a record from its JSON."""
    script = Script(**data.pop("script"))
    rules = [Rule(**rule) for rule in data.pop("rules")]
    return Record(**data, script=script, rules=rules)
