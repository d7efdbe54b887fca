"""What runs came to, as the rows of a table that a README can take: one for each run, and a total."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos import books
from tests.chaos.books import Violation

COLUMNS = {
    "scenario": 17,
    "database": 10,
    "jobs": 6,
    "completed": 9,
    "faults": 6,
    "spoiled": 7,
    "lost": 4,
    "events": 6,
    "creates": 7,
    "other": 5,
    "queue": 5,
    "s": 5,
}
"""Every column but the last, with its width."""

LEGEND = (
    "faults: done to the installation; spoiled: calls that the upstream failed or falsified; lost: jobs; "
    "events: terminal events doubled or missing; creates: doubled, or without a row; other: promises broken otherwise; "
    "queue: the most messages in one"
)
NAMED = (books.LOST, books.EVENT, books.CREATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to."""

    jobs: int
    ended: Counter[str]
    faults: int
    spoiled: int
    cut_off: int
    lost_answers: int
    orphans: int
    longest_queue: int
    took_s: float
    violations: Sequence[Violation]
    own_deaths: Sequence[str] = ()
    measured: str = ""

    def row(self, scenario: str, database: str) -> str:
        """The figures, as one row."""
        kinds = Counter(violation.kind for violation in self.violations)
        broken = [kinds.pop(kind, 0) for kind in NAMED]
        figures = (self.jobs, self.ended["completed"], self.faults, self.spoiled, *broken, kinds.total())
        return _row(
            [scenario, database, *(f"{figure:,}" for figure in (*figures, self.longest_queue, round(self.took_s)))],
            "; ".join(self._told()),
        )

    def _told(self) -> Iterable[str]:
        others = [f"{number:,} {status}" for status, number in self.ended.most_common() if status != "completed"]
        if others:
            yield ", ".join(others)
        if self.cut_off:
            yield f"{self.cut_off:,} requests of clients cut off"
        if self.lost_answers:
            yield f"{self.lost_answers:,} answers to creates never came"
        if self.orphans:
            yield f"{self.orphans:,} runs came too late and were cancelled"
        if self.own_deaths:
            yield f"{len(self.own_deaths):,} processes ended by themselves"
        if self.measured:
            yield self.measured


def head() -> str:
    """The table's head."""
    return f"{_row(list(COLUMNS), 'measured')}\n|{'---|' * (len(COLUMNS) + 1)}"


def total(reports: Sequence[Report]) -> Report:
    """All runs as one."""
    ended: Counter[str] = Counter()
    for report in reports:
        ended.update(report.ended)
    return Report(
        jobs=sum(report.jobs for report in reports),
        ended=ended,
        faults=sum(report.faults for report in reports),
        spoiled=sum(report.spoiled for report in reports),
        cut_off=sum(report.cut_off for report in reports),
        lost_answers=sum(report.lost_answers for report in reports),
        orphans=sum(report.orphans for report in reports),
        longest_queue=max((report.longest_queue for report in reports), default=0),
        took_s=sum(report.took_s for report in reports),
        violations=[violation for report in reports for violation in report.violations],
        own_deaths=[death for report in reports for death in report.own_deaths],
    )


def _row(cells: Sequence[str], last: str) -> str:
    padded = [
        cell.ljust(width) if place < 2 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, COLUMNS.values(), strict=True))
    ]
    return f"| {' | '.join(padded)} | {last} |"
