"""Scenarios in which what we run ourselves fails: API, workers, their messages, Redis, the database, the disk."""

from tests.chaos import bars
from tests.chaos.bars import FLUSHED, KILLED
from tests.chaos.beats import killed_at_each, killed_during, talks
from tests.chaos.faults import (
    asleep,
    database_disconnect,
    database_frozen,
    database_restart,
    disk_full,
    freeze,
    kill_a_worker,
    kill_every_worker,
    kill_the_api,
    measured,
    redis_flushed,
    redis_flushed_full,
    redis_frozen,
    redis_gone,
    roll,
)
from tests.chaos.messages import messages_doubled, messages_stolen, no_messages, workers_deaf
from tests.chaos.orders import Mix
from tests.chaos.receiver import FLAKY, SLOW, WELL
from tests.chaos.scenario import CANNOT_START, POSTGRESQL, RECOVERY, SQLITE, UNCONFIRMED, Scenario
from tests.chaos.script import after, again, in_turn, once
from tests.chaos.weather import crowded, upstream
from worker.ticker import DEAF_EXIT

SHORT = 12
"""Seconds after which a job with a deadline has overrun it."""

KILLS: dict[str, Scenario] = {
    "kill-workers": Scenario(
        about="SIGKILL to every worker while creates are under way; recovery with the default claims",
        faults=(
            upstream("create", "slow", delay_s=2.0, for_s=30.0, probability=0.2),
            after(6, once(talks("create"), measured(KILLED, kill_every_worker))),
        ),
        terms=UNCONFIRMED,
        env={},
        simulator=RECOVERY,
        bar=bars.recovered,
    ),
    "only-worker": Scenario(
        about="SIGKILL to the only worker while everything is under way; recovery with the default claims",
        faults=(
            upstream("create", "slow", delay_s=2.0, for_s=30.0, probability=0.2),
            after(6, once(talks("create"), measured(KILLED, kill_every_worker))),
        ),
        terms=UNCONFIRMED,
        databases=(POSTGRESQL, SQLITE),
        workers=1,
        env={},
        simulator=RECOVERY,
        bar=bars.recovered,
    ),
    "talks": Scenario(
        about="SIGKILL to every worker while it waits for the answer to a create, a get, a cancel, a webhook",
        faults=(
            upstream("create", "slow", delay_s=1.5, for_s=90.0, probability=0.3),
            upstream("get", "slow", delay_s=1.0, for_s=90.0, probability=0.3),
            upstream("cancel", "hang", for_s=90.0, probability=0.7),
            after(3, again(2, 4, in_turn(*(killed_during(what) for what in ("create", "get", "cancel", "deliver"))))),
        ),
        terms=UNCONFIRMED,
        mix=Mix(cancels=0.25, webhooks=1.0, manners={WELL: 2, SLOW: 2}),
        over_s=45,
    ),
    "beats-start": Scenario(
        about="SIGKILL at both sides of every commit of a start",
        faults=(
            upstream("create", "lost", for_s=150.0, probability=0.1),
            upstream("create", status=429, for_s=150.0, retry_after_s=1, probability=0.1),
            after(
                2,
                killed_at_each(
                    "hint",
                    "start claims",
                    "start sends",
                    "sweep gives up",
                    "start records",
                    "start refused",
                    "start lost",
                    "unconfirmed decides",
                    "sweep",
                ),
            ),
        ),
        terms=UNCONFIRMED,
        over_s=100,
        faults_s=420,
        deaths=CANNOT_START,
    ),
    "beats-poll": Scenario(
        about="SIGKILL at both sides of every commit of polling and settling",
        faults=(
            after(2, killed_at_each("poll claims", "poll records", "settle", "settle fails", "settle tries again")),
        ),
        terms=UNCONFIRMED.beside(errors={"upstream_failed"}),
        mix=Mix(directives={"[[sim: status=failed code=service_unavailable]]": 0.3}),
        over_s=60,
        faults_s=240,
        deaths=CANNOT_START,
    ),
    "beats-cancel": Scenario(
        about="SIGKILL at both sides of every commit of cancelling, for the owner and at the deadline",
        faults=(
            after(2, killed_at_each("cancel asked", "cancel claims", "cancel records", "cancel settles", "deadline")),
        ),
        terms=UNCONFIRMED.beside(statuses={"expired"}),
        mix=Mix(cancels=0.4, followers=0, directives={"[[sim: status=stuck]]": 0.3}, fields={"timeout_seconds": SHORT}),
        over_s=60,
        faults_s=240,
        deaths=CANNOT_START,
    ),
    "beats-deliver": Scenario(
        about="SIGKILL at both sides of every commit of delivering and submitting",
        faults=(after(2, killed_at_each("deliver claims", "deliver records", "deliver fails", "submit")),),
        terms=UNCONFIRMED,
        mix=Mix(webhooks=1.0, manners={WELL: 3, FLAKY: 1}),
        over_s=45,
        deaths=CANNOT_START,
    ),
    "zombies": Scenario(
        about="workers stopped for longer than their claims, in the middle of creates, that go on as if nothing were",
        faults=(
            upstream("create", "slow", delay_s=1.5, for_s=50.0, probability=0.3),
            in_turn(
                after(3, once(talks("create"), freeze(22, "worker-0", "worker-1"))),
                again(2, 1, once(talks("create"), freeze(12, "worker-1", "worker-2"))),
            ),
        ),
        terms=UNCONFIRMED,
        workers=3,
        over_s=48,
    ),
    "rolling": Scenario(
        about="SIGTERM to worker after worker and to the API, all under load",
        faults=(after(2, roll()), after(5, again(3, 7, roll("api")))),
        workers=3,
        over_s=40,
    ),
    "kill-api": Scenario(
        about="SIGKILL to the API in the middle of requests",
        faults=(again(6, 4, kill_the_api),),
        databases=(POSTGRESQL, SQLITE),
        over_s=28,
    ),
    "limits": Scenario(
        about="at most 12 in flight and 5 of one target, with three workers and rolling restarts",
        faults=(crowded(12, 5, 40), after(6, roll())),
        env={"NIGHTDESK_MAX_IN_FLIGHT": "12", "NIGHTDESK_MAX_IN_FLIGHT_PER_TARGET": "5"},
        simulator={"model_s": 1.5, "agent_s": 1.5},
        workers=3,
    ),
}

SURROUNDINGS: dict[str, Scenario] = {
    "flushall": Scenario(
        about="FLUSHALL in the middle of everything; recovery with the default claims",
        faults=(
            after(2, measured(FLUSHED, redis_flushed_full(1.5))),
            after(5, measured(FLUSHED, redis_flushed)),
        ),
        env={},
        simulator=RECOVERY,
        over_s=6,
        bar=bars.recovered,
    ),
    "redis-gone": Scenario(
        about="Redis killed, and back after more than two minutes",
        faults=(after(4, redis_gone(130)),),
        over_s=10,
        faults_s=240,
    ),
    "redis-frozen": Scenario(
        about="Redis takes connections and answers nothing for 20 s",
        faults=(after(4, redis_frozen(20)),),
        over_s=24,
    ),
    "redis-flapping": Scenario(
        about="Redis killed and started again five times, flushed in between",
        faults=(again(5, 2.5, redis_gone(0.5)), again(2, 6, redis_flushed)),
        over_s=16,
    ),
    "deaf-workers": Scenario(
        about="workers that live and take no messages any more: they are noticed and replaced",
        faults=(after(4, workers_deaf),),
        deaths=frozenset({DEAF_EXIT}),
        bar=bars.replaced,
    ),
    "doubled-messages": Scenario(
        about="a second copy of every wake-up, while workers are killed",
        faults=(messages_doubled(24), again(2, 8, kill_a_worker)),
        terms=UNCONFIRMED,
        over_s=18,
    ),
    "stolen-messages": Scenario(
        about="most wake-ups stolen for 20 s, then none let through for 15 s",
        faults=(in_turn(messages_stolen(20), no_messages(15)),),
        over_s=25,
    ),
    "database-restart": Scenario(
        about="PostgreSQL crashes and comes back, connections are cut",
        faults=(in_turn(again(2, 4, database_restart), again(4, 1.5, database_disconnect)),),
        terms=UNCONFIRMED,
        over_s=16,
        deaths=CANNOT_START,
    ),
    "database-frozen": Scenario(
        about="PostgreSQL takes connections and answers nothing for longer than every claim",
        faults=(after(5, database_frozen(14)),),
        terms=UNCONFIRMED,
        over_s=20,
    ),
    "asleep": Scenario(
        about="the whole machine suspended for 20 s with everything in flight, twice",
        faults=(again(2, 5, asleep(20)),),
        terms=UNCONFIRMED,
        databases=(POSTGRESQL, SQLITE),
        over_s=20,
    ),
    "one-machine": Scenario(
        about="SQLite: workers and API killed, Redis flushed and gone",
        faults=(
            again(3, 5, kill_every_worker),
            again(2, 7, kill_the_api),
            after(8, redis_flushed),
            after(16, redis_gone(5)),
        ),
        terms=UNCONFIRMED,
        databases=(SQLITE,),
        over_s=24,
    ),
    "disk-full": Scenario(
        about="SQLite on a full disk for 10 s, twice",
        faults=(again(2, 5, disk_full(10)),),
        terms=UNCONFIRMED,
        databases=(SQLITE,),
        over_s=30,
    ),
}
