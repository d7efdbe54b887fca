"""All interactions, in memory, with the simulator's clock; every change also goes to the journal, if there is one."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from worker.dev.simulator.journal import Journal, record_from, record_to
from worker.dev.simulator.options import Options
from worker.dev.simulator.record import ENDED, Record
from worker.dev.simulator.refusal import Refusal

_SCAN = 1_000


class Store:
    """Records by id, oldest first, and the clock that they are judged by."""

    def __init__(self, options: Options) -> None:
        self._limit = options.max_interactions
        self._records: dict[str, Record] = {}
        self._advanced_s = 0.0
        self.created = 0
        self._journal = Journal(options.state_path) if options.state_path else None
        if self._journal is not None:
            self._replay(self._journal)

    def __len__(self) -> int:
        return len(self._records)

    def now(self) -> float:
        """Return the simulator's time, in seconds since the epoch."""
        return time.time() + self._advanced_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward for good."""
        self._advanced_s += seconds
        self._note("clock", advanced_s=self._advanced_s)

    def add(self, record: Record) -> None:
        """Keep a new interaction."""
        self._make_room()
        self._records[record.id] = record
        self.created += 1
        if self._journal is not None:
            self._journal.write("record", record=record_to(record))

    def find(self, interaction_id: str) -> Record:
        """Return a visible interaction; raises Refusal 404 if it is unknown, deleted or dropped."""
        record = self._records.get(interaction_id)
        if record is None or record.is_deleted:
            raise Refusal(404, f"Interaction not found: {interaction_id[:100]}", "not_found")
        return record

    def peek(self, interaction_id: str) -> Record:
        """Return an interaction even if it is deleted; raises Refusal 404 if it is unknown."""
        record = self._records.get(interaction_id)
        return record if record is not None else self.find(interaction_id)

    def cancel(self, record: Record, at_s: float) -> None:
        """Let the interaction be cancelled from this moment on."""
        record.cancelled_s = at_s
        self._note("cancelled", id=record.id, at_s=at_s)

    def delete(self, record: Record) -> None:
        """Hide an interaction; its run goes on."""
        record.is_deleted = True
        self._note("deleted", id=record.id)

    def direct(self, record: Record, changes: dict[str, Any], replaced: dict[str, Any] | None) -> None:
        """Change the script of an interaction, or the body that it is answered with."""
        record.script = replace(record.script, **changes)
        record.replaced = replaced if replaced is not None else record.replaced
        self._note("directed", id=record.id, changes=changes, replaced=record.replaced)

    def page(self, offset: int, limit: int) -> Iterator[Record]:
        """Return records in the order of their creation, deleted ones included."""
        return islice(self._records.values(), offset, offset + limit)

    def reset(self) -> None:
        """Forget everything and set the clock right."""
        self._records.clear()
        self._advanced_s = 0.0
        self.created = 0
        if self._journal is not None:
            self._journal.rewrite([], 0.0)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _note(self, what: str, **values: Any) -> None:
        if self._journal is not None:
            self._journal.write(what, **values)

    def _make_room(self) -> None:
        if len(self._records) < self._limit:
            return
        now = self.now()
        oldest = islice(self._records.values(), _SCAN)
        ended = next((record.id for record in oldest if record.status(now) in ENDED), None)
        if ended is None:
            raise Refusal(429, "The simulator is full of running interactions.", "quota_exceeded")
        del self._records[ended]

    def _replay(self, journal: Journal) -> None:
        for entry in journal.read():
            what = entry["what"]
            record = self._records.get(entry.get("id", ""))
            if what == "clock":
                self._advanced_s = entry["advanced_s"]
            elif what == "record":
                self._records[entry["record"]["id"]] = record_from(entry["record"])
            elif record is None:
                continue
            elif what == "cancelled":
                record.cancelled_s = entry["at_s"]
            elif what == "deleted":
                record.is_deleted = True
            elif what == "directed":
                record.script = replace(record.script, **entry["changes"])
                record.replaced = entry["replaced"]
        surplus = max(0, len(self._records) - self._limit)
        for interaction_id in list(islice(self._records, surplus)):
            del self._records[interaction_id]
        self.created = len(self._records)
        journal.rewrite(list(self._records.values()), self._advanced_s)
