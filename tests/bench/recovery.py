"""Recovery: the only worker is killed, or Redis forgets everything, with hundreds of jobs in flight."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import time

import uvloop

from tests.bench import jobs, race, receiver
from tests.bench.ground import LATENCY_S, Ground, Site
from tests.bench.jobs import Looker
from tests.bench.receiver import Arrivals
from tests.stack import RESTART_S, Stack, free_port
from tests.waiting import eventually
from worker.app import redis_client

JOBS, DURATION_S = 500, 15.0
IN_FLIGHT_S, CREATED_S = 20.0, 40.0
"""How long after its duration everything must be done, counted from the submission."""

GIVE_UP_S = 120.0
CREATED = "SELECT count(*) FROM job WHERE interaction_id IS NOT NULL"
UNSEEN = "SELECT count(*) FROM job WHERE finished_at IS NULL AND (last_polled_at IS NULL OR last_polled_at < :since)"


@dataclass(frozen=True, slots=True)
class Accident:
    """What happens, once so many of the jobs run, and how much time is left to get over it."""

    name: str
    share: float
    strike: Callable[[Stack], None]
    within_s: float


@dataclass(frozen=True, slots=True)
class Aftermath:
    """How it went on."""

    done_s: float
    polled_s: float
    done: int
    twice: int
    created: int


def _kill(stack: Stack) -> None:
    stack.kill("worker-0")


def _flush(stack: Stack) -> None:
    redis = redis_client(stack.settings, timeout_s=5)
    redis.flushall()
    redis.close()


ACCIDENTS = (
    Accident("SIGKILL of the only worker, all in flight", 1.0, _kill, IN_FLIGHT_S),
    Accident("SIGKILL of the only worker, half of them created", 0.5, _kill, CREATED_S),
    Accident("FLUSHALL, half of them created", 0.5, _flush, IN_FLIGHT_S),
)


def run(ground: Ground) -> None:
    """Each accident on each database."""
    number, duration_s = (100, 5.0) if ground.is_quick else (JOBS, DURATION_S)
    ground.report.table(
        f"Recovery: {number} jobs of {duration_s:g} s, one worker, started again after {RESTART_S:g} s",
        "accident",
        "database",
        "all done, s after the submission",
        "every job polled again, s after the accident",
        "webhooks missing, twice",
        "creates too many",
    )
    for kind in ground.databases:
        for accident in ACCIDENTS:
            with ground.site(kind) as site:
                after = _run(site, accident, number, duration_s)
            missing = number - after.done
            done = ground.report.at_most(after.done_s, duration_s + accident.within_s)
            cells = [done, f"{after.polled_s:.1f}", f"{missing}, {after.twice}", str(after.created - number)]
            ground.report.row(accident.name, kind, *cells)


def _run(site: Site, accident: Accident, number: int, duration_s: float) -> Aftermath:
    simulator = {"latency_s": LATENCY_S, "model_s": duration_s}
    with (
        Stack(site.folder, site.database_url, simulator=simulator) as stack,
        jobs.looking(stack.settings.database) as looker,
    ):
        return uvloop.run(_drive(stack, looker, accident, number))


async def _drive(stack: Stack, looker: Looker, accident: Accident, number: int) -> Aftermath:
    port, polled_at = free_port(), 0.0
    async with receiver.listening(port) as arrivals:
        began = time()
        jobs.submit(stack, number, webhook_url=receiver.hook(port))
        eventually(lambda: looker.number(CREATED) >= accident.share * number, GIVE_UP_S, "the creates")
        struck = time()
        accident.strike(stack)
        while len(arrivals.first) < number and time() < began + GIVE_UP_S:
            stack.mend()
            polled_at = polled_at or (0.0 if looker.number(UNSEEN, since=looker.moment(struck)) else time())
            await asyncio.sleep(0.1)
        return _aftermath(stack, arrivals, began, polled_at - struck)


def _aftermath(stack: Stack, arrivals: Arrivals, began: float, polled_s: float) -> Aftermath:
    return Aftermath(
        done_s=max((one.at for one in arrivals.first.values()), default=began) - began,
        polled_s=polled_s,
        done=len(arrivals.first),
        twice=arrivals.twice,
        created=len(race.upstream(stack.simulator_url)),
    )
