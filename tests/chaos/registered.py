"""Scenarios of registered endpoints: many manners beside jobs' own URLs, endpoints that come and go, two projects."""

from random import Random

from tests.chaos import bars, receiver
from tests.chaos.acts import Life, Place
from tests.chaos.beats import killed_at_each
from tests.chaos.faults import (
    database_disconnect,
    database_restart,
    kill_a_worker,
    kill_every_worker,
    kill_the_api,
    redis_flushed,
    redis_gone,
)
from tests.chaos.orders import Mix
from tests.chaos.receiver import AILING, FAILING, FLAKY, GONE, HANGING, SHAKY, SLOW, WELL
from tests.chaos.scenario import CANNOT_START, POSTGRESQL, SQLITE, UNCONFIRMED, Scenario
from tests.chaos.script import Fault, Steps, after, again, any_of
from tests.chaos.site import Site
from worker.states import CREATED, ENDPOINT_DISABLED, EVENTS, Status

COMPLETED, STARTED = EVENTS[Status.COMPLETED], EVENTS[Status.IN_PROGRESS]
ENDS = tuple(EVENTS[status] for status in Status if EVENTS.get(status) and status != Status.IN_PROGRESS)


def _served(fault: Fault) -> Fault:
    """The fault, where there is a server to harm: SQLite has none."""

    def steps(site: Site, rng: Random) -> Steps:
        if site.postgres is not None:
            yield from fault(site, rng)

    return steps


TROUBLE: tuple[Fault, ...] = (
    kill_a_worker,
    kill_every_worker,
    kill_the_api,
    redis_flushed,
    redis_gone(2),
    _served(database_restart),
    _served(database_disconnect),
)
EVERY_MANNER = Life(
    places=(
        Place(WELL),
        Place(WELL, (COMPLETED, ENDPOINT_DISABLED)),
        Place(SHAKY, ENDS),
        Place(SLOW, (COMPLETED,)),
        Place(AILING, (CREATED, COMPLETED)),
        Place(GONE, ENDS),
        Place(FAILING, (STARTED,)),
        Place(HANGING, (COMPLETED,)),
    )
)
COMING_AND_GOING = Life(
    places=(Place(WELL), Place(WELL, (COMPLETED, ENDPOINT_DISABLED)), Place(SHAKY, ENDS), Place(GONE)),
    acts=48,
    manners=(WELL, WELL, SHAKY, SLOW, AILING, GONE),
)
ALWAYS = Life(
    places=(Place(WELL, (COMPLETED, ENDPOINT_DISABLED)), Place(GONE), Place(GONE, ENDS), Place(WELL)),
    acts=2_000,
    every_s=0.35,
    manners=(WELL, SHAKY, GONE, GONE),
)
BESIDE = Mix(webhooks=0.5, manners={WELL: 4, FLAKY: 1, FAILING: 1})

REGISTERED: dict[str, Scenario] = {
    "endpoints": Scenario(
        about="endpoints with filters, well, flaky, slow, ill, gone, failing and hanging, while all parts are killed",
        faults=(
            after(5, kill_every_worker),
            after(9, redis_flushed),
            after(14, kill_the_api),
            after(18, _served(database_restart)),
            after(24, _served(database_disconnect)),
            after(25, kill_a_worker),
        ),
        terms=UNCONFIRMED,
        databases=(POSTGRESQL, SQLITE),
        deaths=CANNOT_START,
        mix=BESIDE,
        life=EVERY_MANNER,
        bar=bars.witnessed,
        over_s=28,
    ),
    "endpoint-lives": Scenario(
        about="operators of two projects make, change, rotate, try, replay and delete endpoints while all is killed",
        faults=(again(9, 3.5, any_of(*TROUBLE)),),
        terms=UNCONFIRMED,
        databases=(POSTGRESQL, SQLITE),
        deaths=CANNOT_START,
        mix=BESIDE,
        projects=2,
        life=COMING_AND_GOING,
        bar=bars.witnessed,
        over_s=36,
    ),
    "two-projects": Scenario(
        about="two projects under the same load, their endpoints at the same receivers, while all parts are killed",
        faults=(again(7, 3, any_of(*TROUBLE)),),
        terms=UNCONFIRMED,
        databases=(POSTGRESQL, SQLITE),
        deaths=CANNOT_START,
        mix=Mix(webhooks=1.0, manners={receiver.WELL: 3, receiver.FLAKY: 1}, asks=8),
        projects=2,
        life=Life(
            places=(Place(WELL), Place(GONE, (COMPLETED,)), Place(WELL, (ENDPOINT_DISABLED, COMPLETED))),
            acts=16,
            every_s=1.2,
            manners=(WELL, SHAKY),
        ),
        bar=bars.witnessed,
        jobs=240,
        over_s=26,
    ),
    "beats-operators": Scenario(
        about="SIGKILL to the API at both sides of every commit of what operators do",
        faults=(
            after(
                6,
                killed_at_each(
                    "endpoint",
                    "endpoint moves",
                    "endpoint rotates",
                    "endpoint replays",
                    "endpoint is enabled",
                    "endpoint is deleted",
                    "ping",
                    "redeliver",
                ),
            ),
        ),
        terms=UNCONFIRMED,
        mix=BESIDE,
        life=ALWAYS,
        bar=bars.witnessed,
        over_s=90,
        faults_s=420,
        deaths=CANNOT_START,
    ),
    "beats-endpoints": Scenario(
        about="SIGKILL to the workers at both sides of every commit by which endpoints are disabled and served again",
        faults=(after(2, killed_at_each("endpoint is disabled", "hold", "release", "cancel")),),
        terms=UNCONFIRMED,
        mix=BESIDE,
        life=ALWAYS,
        bar=bars.witnessed,
        over_s=90,
        faults_s=420,
        deaths=CANNOT_START,
    ),
}
