"""A race: N jobs of about D seconds with a webhook each, from the first POST to the last webhook or the time limit.

Everyone gets fresh processes, the same simulator and the same clients; all their processes are counted, boot included.
"""

import asyncio
from dataclasses import dataclass, field
from time import time
from typing import Any, Self

import httpx2
import sqlalchemy as sa
import uvloop

from tests.bench import receiver, usage
from tests.bench.entrants import Entrant
from tests.bench.ground import LATENCY_S, Site
from tests.bench.receiver import Arrivals
from tests.bench.server import Server
from tests.stack import Stack, free_port
from worker.database import Database

SAMPLE_S = 3.0
LOOK_S = 0.1
API, WORKER = "api", "worker"
JITTER, SKEW, ENOUGH = 0.2, 0.03, 300


@dataclass(frozen=True, slots=True)
class Course:
    """How many jobs of which duration, and when an entrant is stopped."""

    jobs: int
    duration_s: float
    limit_s: float


@dataclass(slots=True)
class Used:
    """What an entrant used: CPU by part, and the memory when it was largest."""

    boot_s: float = 0.0
    api_s: float = 0.0
    worker_s: float = 0.0
    stores_s: float = 0.0
    api_mib: float = 0.0
    worker_mib: float = 0.0

    @property
    def cpu_s(self) -> float:
        """CPU of all its processes."""
        return self.api_s + self.worker_s

    @property
    def mib(self) -> float:
        """Memory of all its processes."""
        return self.api_mib + self.worker_mib

    def sample(self, stack: Stack) -> None:
        """Look at the memory; the largest sum is kept."""
        api_mib, worker_mib = (usage.pss_mib(usage.named(stack, part)) for part in (API, WORKER))
        if api_mib + worker_mib > self.mib:
            self.api_mib, self.worker_mib = api_mib, worker_mib


@dataclass(frozen=True, slots=True)
class Finish:
    """How an entrant did; the durations are of the jobs that were done, in seconds."""

    course: Course
    done: int
    took_s: float
    used: Used
    created: int
    gets: int
    twice: int
    create_s: list[float] = field(default_factory=list)
    detect_s: list[float] = field(default_factory=list)
    webhook_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """One interaction as the simulator knows it."""

    created_at: float
    ends_at: float

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """From the simulator's own entry."""
        return cls(entry["created_at"], entry["ends_at"])


def run(entrant: Entrant, course: Course, site: Site, server: Server) -> Finish:
    """Let one entrant run."""
    options = {"latency_s": LATENCY_S, "model_s": course.duration_s, "jitter": JITTER}
    with Stack(
        site.folder, site.database_url, workers=int(entrant.is_ours), api=entrant.is_ours, simulator=options
    ) as stack:
        entrant.prepare(stack)
        stores = [*server.processes, *([stack.redis.process] if stack.redis.process else [])]
        stores_before_s = usage.cpu_s(stores)
        used = Used(boot_s=usage.cpu_s(usage.named(stack, API, WORKER)))
        arrivals = uvloop.run(_drive(entrant, course, stack, used))
        used.api_s, used.worker_s = (usage.cpu_s(usage.named(stack, part)) for part in (API, WORKER))
        used.stores_s = usage.cpu_s(stores) - stores_before_s
        runs, looks = upstream(stack.simulator_url), gets(stack.simulator_url)
        check_durations(runs, course)
        if entrant.is_ours and len(arrivals.first) == course.jobs:
            check_books(stack, course.jobs)
    return _finish(course, used, arrivals, runs, looks)


async def _drive(entrant: Entrant, course: Course, stack: Stack, used: Used) -> Arrivals:
    port = free_port()
    async with receiver.listening(port) as arrivals:
        give_up, sample_at = time() + course.limit_s, 0.0
        begun = asyncio.create_task(entrant.begin(stack, receiver.hook(port), course.jobs))
        while len(arrivals.first) < course.jobs and time() < give_up:
            if time() > sample_at:
                sample_at = time() + SAMPLE_S
                used.sample(stack)
            await asyncio.sleep(LOOK_S)
        begun.cancel() if not begun.done() else begun.result()
    return arrivals


def upstream(url: str) -> dict[str, Run]:
    """Every interaction by its id."""
    runs: dict[str, Run] = {}
    total = 1
    while len(runs) < total:
        page = httpx2.get(f"{url}/_sim/interactions", params={"offset": len(runs)}, timeout=30).json()
        runs |= {one["id"]: Run.of(one) for one in page["interactions"]}
        total = page["total"]
    return runs


def gets(url: str) -> int:
    """How many GETs of interactions the simulator has answered."""
    calls: dict[str, Any] = httpx2.get(f"{url}/_sim/stats", timeout=30).json()["calls"]
    return sum(calls.get("get", {}).values())


def check_durations(runs: dict[str, Run], course: Course) -> None:
    """The simulator's runs last from 0.8 to 1.2 of the duration, evenly spread."""
    shares = [(run.ends_at - run.created_at) / course.duration_s for run in runs.values()]
    assert all(1 - JITTER <= share <= 1 + JITTER for share in shares), "a run is too short or too long"
    mean = sum(shares) / max(1, len(shares))
    assert len(shares) < ENOUGH or abs(mean - 1) < SKEW, f"runs last {mean:.2f} of their duration on average"


def check_books(stack: Stack, jobs: int) -> None:
    """Every job is completed and has one terminal event."""
    database = Database(stack.settings.database)
    with database.read() as session:
        statuses = session.execute(sa.text("SELECT status, count(*) FROM job GROUP BY status")).all()
        ends = session.execute(
            sa.text("SELECT count(*), count(DISTINCT job_id) FROM event WHERE type = 'job.completed'")
        ).one()
    database.close()
    assert [tuple(row) for row in statuses] == [("completed", jobs)], f"not every job is completed: {statuses}"
    assert tuple(ends) == (jobs, jobs), f"terminal events are missing or doubled: {ends}"


def _finish(course: Course, used: Used, arrivals: Arrivals, runs: dict[str, Run], looks: int) -> Finish:
    first = arrivals.first.values()
    began = min((one.created_at for one in first), default=0.0)
    ran = [(one, runs[one.interaction_id]) for one in first]
    return Finish(
        course=course,
        done=len(first),
        took_s=max((one.at for one in first), default=0.0) - began,
        used=used,
        created=len(runs),
        gets=looks,
        twice=arrivals.twice,
        create_s=[run.created_at - one.created_at for one, run in ran],
        detect_s=[one.finished_at - run.ends_at for one, run in ran],
        webhook_s=[one.at - run.ends_at for one, run in ran],
    )
