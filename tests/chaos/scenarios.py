"""All scenarios: those of one kind of trouble, and those of everything at once."""

from tests.chaos import bars, receiver
from tests.chaos.acts import Life, Place
from tests.chaos.beats import talks
from tests.chaos.faults import (
    database_disconnect,
    database_restart,
    freeze,
    kill_a_worker,
    kill_every_worker,
    kill_the_api,
    redis_flushed,
    redis_frozen,
    redis_gone,
)
from tests.chaos.messages import no_messages
from tests.chaos.orders import Mix
from tests.chaos.ours import KILLS, SURROUNDINGS
from tests.chaos.registered import COMPLETED, REGISTERED
from tests.chaos.scenario import CANNOT_START, UNCONFIRMED, Scenario
from tests.chaos.script import Fault, after, again, any_of, once
from tests.chaos.theirs import RECEIVERS, UPSTREAM
from tests.chaos.weather import outage, upstream

ANYTHING: tuple[Fault, ...] = (
    kill_a_worker,
    kill_every_worker,
    kill_the_api,
    freeze(10),
    freeze(6, "api"),
    freeze(5, "receiver"),
    redis_flushed,
    redis_gone(3),
    redis_frozen(6),
    database_restart,
    database_disconnect,
    outage(4),
    no_messages(5),
    upstream("create", "lost", for_s=5.0, probability=0.3),
    upstream("create", "hang", for_s=5.0, probability=0.2),
    upstream("create", status=429, for_s=4.0, retry_after_s=2),
    upstream("*", status=500, for_s=4.0, probability=0.3),
    upstream("get", "truncated", for_s=5.0, probability=0.5),
    upstream("*", "slow", delay_s=2.0, for_s=5.0, probability=0.3),
)
LIVELY = {receiver.WELL: 6.0, receiver.FLAKY: 2.0, receiver.SLOW: 1.0, receiver.RUDE: 1.0}

SLICE = Scenario(
    about="a little of everything, within a minute: what `make test` plays",
    faults=(
        # By number, not for a time: on a slow machine the creates come later.
        upstream("create", "lost", count=6, probability=0.15),
        upstream("create", "slow", delay_s=1.0, count=20, probability=0.3),
        after(2.5, once(talks("create"), kill_every_worker)),
        after(4.5, kill_the_api),
        after(9.5, redis_flushed),
        after(10.5, database_disconnect),
    ),
    terms=UNCONFIRMED,
    deaths=CANNOT_START,
    simulator={"model_s": 2.0, "agent_s": 3.0},
    mix=Mix(manners={receiver.WELL: 4, receiver.FLAKY: 1, receiver.FAILING: 1, receiver.HANGING: 1}, asks=8),
    life=Life(places=(Place(receiver.WELL), Place(receiver.GONE, (COMPLETED,)))),
    bar=bars.witnessed,
    over_s=11,
    settle_s=150,
)

EVERYTHING: dict[str, Scenario] = {
    "mixed": Scenario(
        about="everything at once, drawn from the seed",
        faults=(again(9, 3, any_of(*ANYTHING)),),
        terms=UNCONFIRMED,
        workers=3,
        deaths=CANNOT_START,
        mix=Mix(webhooks=1.0, manners=LIVELY, asks=8),
        life=Life(places=(Place(receiver.WELL), Place(receiver.SHAKY, (COMPLETED,)))),
        bar=bars.witnessed,
        jobs=300,
        over_s=40,
    ),
    "thousands": Scenario(
        about="two thousand jobs while everything fails, drawn from the seed",
        faults=(again(14, 4, any_of(*ANYTHING)), after(30, kill_every_worker), after(60, redis_flushed)),
        terms=UNCONFIRMED,
        workers=3,
        deaths=CANNOT_START,
        mix=Mix(manners=LIVELY, asks=12),
        jobs=1_850,
        over_s=100,
        faults_s=240,
        settle_s=90,
    ),
}

SCENARIOS = {**KILLS, **SURROUNDINGS, **UPSTREAM, **RECEIVERS, **REGISTERED, **EVERYTHING}
