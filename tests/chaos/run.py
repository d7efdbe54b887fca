"""One run of a scenario: orders and faults from one seed, then rest, then the books."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

from tests.chaos import books, evidence, orders
from tests.chaos.bars import LATE
from tests.chaos.books import Violation
from tests.chaos.client import Clients
from tests.chaos.scenarios import Scenario
from tests.chaos.script import Script
from tests.chaos.site import Site
from tests.postgres import Postgres

FAULTS_WITHIN_S = 150.0
QUIET_S = 10.0
SEEN = "seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to."""

    jobs: int
    ended: Counter[str]
    deeds: int
    lost_answers: int
    orphans: int
    took_s: float
    violations: Sequence[Violation]
    own_deaths: Sequence[str]
    measured: str

    def line(self) -> str:
        """The figures, in one line."""
        kinds = Counter(violation.kind for violation in self.violations)
        shown = {
            "lost": kinds.pop(books.LOST, 0),
            "doubled or missing events": kinds.pop(books.EVENT, 0),
            "doubled creates": kinds.pop(books.CREATE, 0),
            "late": kinds.pop(LATE, 0),
            **kinds,
        }
        ended = ", ".join(f"{number} {status}" for status, number in self.ended.most_common())
        deaths = f", {len(self.own_deaths)} ended by themselves" if self.own_deaths else ""
        figures = ", ".join(f"{name} {number}" for name, number in shown.items())
        told = f"; {self.measured}" if self.measured else ""
        return (
            f"{self.jobs} jobs ({ended}), {self.deeds} deeds{deaths}, {self.lost_answers} answers lost, "
            f"{self.orphans} orphans, {self.took_s:.0f} s: {figures}{told}"
        )


def _seen(site: Site, scenario: Scenario) -> Iterator[Violation]:
    """What was broken while it ran, and processes that ended by themselves without a reason in the scenario."""
    yield from (Violation(SEEN, text) for text in site.broken)
    yield from (
        Violation(SEEN, f"{death} ended by itself")
        for death in site.own_deaths
        if int(death.split()[1]) not in scenario.deaths
    )


def run(scenario: Scenario, folder: Path, *, postgres: Postgres | None, seed: int, jobs: int) -> Report:
    """Play it and check the books; everything is left in the folder."""
    rng = Random(seed)
    with Site(folder, postgres, scenario.workers, scenario.env, {"seed": seed, **scenario.simulator}) as site:
        drawn = orders.draw(rng, scenario.mix, number=jobs, over_s=scenario.over_s, hook=site.hook)
        clients = Clients(site.stack.url, site.stack.headers, drawn)
        script = Script(site, rng, scenario.faults)
        began = monotonic()
        clients.start()
        try:
            if not script.go_on(lambda: script.is_done and clients.is_done, FAULTS_WITHIN_S):
                site.broken.append(f"faults or clients did not come to their end within {FAULTS_WITHIN_S:g} s")
            script.go_on(site.is_settled, scenario.settle_s)
            took_s = monotonic() - began
            script.go_on(site.is_at_rest, QUIET_S)
        finally:
            clients.stop()
        found = evidence.gather(site, clients)
        measured = scenario.bar(found)
        violations = [*books.check(found, scenario.terms), *measured.violations, *_seen(site, scenario)]
        rows = [row for rows in found.interactions.values() for row in rows]
        return Report(
            jobs=len(found.accepted),
            ended=Counter(str(job.status) for job in found.jobs.values()),
            deeds=len(site.diary),
            lost_answers=sum(row.sent_at is not None and row.upstream_id is None for row in rows),
            orphans=sum(row.orphan for row in rows),
            took_s=took_s,
            violations=violations,
            own_deaths=site.own_deaths,
            measured=measured.text,
        )
