"""The scenarios: what is ordered, what goes wrong meanwhile, and what else than completion a job may then end as."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos import bars, receiver
from tests.chaos.bars import Measured
from tests.chaos.beats import COMMITTED, ROLLED_BACK, killed_at
from tests.chaos.books import Terms
from tests.chaos.evidence import Evidence
from tests.chaos.faults import (
    asleep,
    database_disconnect,
    database_frozen,
    database_restart,
    disk_full,
    freeze,
    gone,
    kill_a_worker,
    kill_every_worker,
    kill_the_api,
    redis_flushed,
    redis_frozen,
    redis_gone,
    roll,
)
from tests.chaos.messages import messages_doubled, messages_stolen, no_messages, workers_deaf
from tests.chaos.orders import Mix
from tests.chaos.script import Fault, after, again, any_of, in_turn, once
from tests.chaos.site import Site
from tests.chaos.weather import bad_key, clock_ahead, crowded, odd_times, outage, upstream
from worker.ticker import DEAF_EXIT

POSTGRESQL, SQLITE = "postgresql", "sqlite"
SHORT_CLAIMS = {
    "NIGHTDESK_TALK_POLL_S": "3",
    "NIGHTDESK_CLAIM_POLL_S": "5",
    "NIGHTDESK_TALK_START_S": "5",
    "NIGHTDESK_CLAIM_START_S": "8",
    "NIGHTDESK_TALK_CANCEL_S": "3",
    "NIGHTDESK_CLAIM_CANCEL_S": "5",
    "NIGHTDESK_TALK_DELIVER_S": "3",
    "NIGHTDESK_CLAIM_DELIVER_S": "6",
}
"""So that what a dead worker held comes back in seconds; scenarios that measure recovery leave them out."""

USUAL = Mix()
COMPLETED_ONLY = Terms()
UNCONFIRMED = Terms(errors=frozenset({"create_unconfirmed"}))
"""An answer may be lost, and where nothing else was asked for the job then fails rather than pay twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run. Durations are seconds; `simulator` and `env` go over what all runs have."""

    about: str
    faults: tuple[Fault, ...]
    terms: Terms = COMPLETED_ONLY
    databases: tuple[str, ...] = (POSTGRESQL,)
    workers: int = 2
    env: Mapping[str, str] = field(default_factory=lambda: SHORT_CLAIMS)
    simulator: Mapping[str, object] = field(default_factory=lambda: {"model_s": 4.0, "agent_s": 6.0})
    mix: Mix = USUAL
    over_s: float = 12.0
    settle_s: float = 75.0
    bar: Callable[[Evidence], Measured] = bars.none
    deaths: frozenset[int] = frozenset()
    """Statuses with which a process may end by itself."""


def is_creating(site: Site) -> bool:
    """Whether some worker waits for the answer to a create."""
    return bool(site.number("SELECT count(*) FROM job WHERE status = 'starting' AND sent_at IS NOT NULL"))


LOST_CREATES = ("lost", "hang", "html", "truncated", "broken", "close", "reset", "accepted")
ODD_GETS = ("html", "truncated", "broken", "close", "reset", "lost", "hang")
RECOVERY = {"model_s": 8.0, "agent_s": 8.0}
"""What the bars are measured with, on the default claims."""


def killed_at_each(*names: str) -> tuple[Fault, ...]:
    """Both sides of each of these commits, one after the other."""
    return (after(2, in_turn(*(killed_at(name, side) for name in names for side in (COMMITTED, ROLLED_BACK)))),)


CANNOT_START = frozenset({1})
"""A process whose start needs the database ends while that is away, and its supervisor starts it again."""

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

SLICE = Scenario(
    about="a little of everything, within a minute: what `make test` plays",
    faults=(
        upstream("create", "lost", for_s=8.0, probability=0.15),
        upstream("create", "slow", delay_s=1.0, for_s=12.0, probability=0.3),
        after(2.5, once(is_creating, kill_every_worker)),
        after(4.5, kill_the_api),
        after(9.5, redis_flushed),
        after(10.5, database_disconnect),
    ),
    terms=UNCONFIRMED,
    deaths=CANNOT_START,
    simulator={"model_s": 2.0, "agent_s": 3.0},
    mix=Mix(manners={receiver.WELL: 4, receiver.FLAKY: 1, receiver.FAILING: 1, receiver.HANGING: 1}),
    over_s=11,
    settle_s=40,
)

SCENARIOS: dict[str, Scenario] = {
    "kill-workers": Scenario(
        about="SIGKILL to every worker, at random and while creates are under way; recovery with the default claims",
        faults=(
            upstream("create", "slow", delay_s=2.0, for_s=30.0, probability=0.2),
            after(6, once(is_creating, kill_every_worker)),
        ),
        terms=UNCONFIRMED,
        env={},
        simulator=RECOVERY,
        bar=bars.after_kill,
    ),
    "flushall": Scenario(
        about="FLUSHALL in the middle of everything; recovery with the default claims",
        faults=(after(1.5, redis_flushed), after(3, redis_flushed)),
        env={},
        simulator=RECOVERY | {"latency_s": 0.4},
        over_s=4,
        bar=bars.after_flush,
    ),
    "lost-answers": Scenario(
        about="creates whose answer is lost in every way, for jobs that fail then and jobs that try again",
        faults=(
            *(upstream("create", kind, for_s=14.0, probability=0.06) for kind in LOST_CREATES),
            *(upstream("create", status=status, for_s=14.0, probability=0.04) for status in (408, 500, 502, 504)),
            *(upstream("create", status=status, made=True, for_s=14.0, probability=0.02) for status in (499, 500)),
        ),
        terms=UNCONFIRMED,
    ),
    "zombies": Scenario(
        about="workers stopped for longer than their claims, in the middle of creates, that go on as if nothing were",
        faults=(
            upstream("create", "slow", delay_s=1.5, for_s=50.0, probability=0.3),
            in_turn(
                after(3, once(is_creating, freeze(22, "worker-0", "worker-1"))),
                again(2, 1, once(is_creating, freeze(12, "worker-1", "worker-2"))),
            ),
        ),
        terms=UNCONFIRMED,
        workers=3,
        over_s=48,
    ),
    "redis-gone": Scenario(
        about="Redis killed, and back after a minute",
        faults=(after(4, redis_gone(60)),),
        over_s=10,
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
    "outage": Scenario(
        about="the upstream gone for 20 s with everything in flight, then back; frozen for 9 s",
        faults=(in_turn(after(4, outage(20)), after(6, freeze(9, "simulator"))),),
        terms=UNCONFIRMED,
        over_s=36,
    ),
    "receivers": Scenario(
        about="receivers that fail, hang, redirect, hang up, and stream without end, beside those that work",
        faults=(after(6, kill_every_worker),),
        terms=UNCONFIRMED,
        mix=Mix(webhooks=1.0, manners={manner: 4.0 if manner == receiver.WELL else 1.0 for manner in receiver.HOSTS}),
    ),
    "receiver-gone": Scenario(
        about="the receiver killed for a while, frozen for a while",
        faults=(in_turn(after(4, gone("receiver", 6)), after(3, freeze(8, "receiver"))),),
        mix=Mix(webhooks=1.0),
        over_s=16,
    ),
    "throttled": Scenario(
        about="429 with and without Retry-After, for creates and polls",
        faults=(
            after(1, upstream("create", status=429, for_s=6.0)),
            after(9, upstream("create", status=429, for_s=4.0, retry_after_s=3)),
            after(4, upstream("get", status=429, for_s=3.0, probability=0.5)),
            after(12, upstream("get", status=429, for_s=3.0, retry_after_s=2)),
        ),
        over_s=16,
    ),
    "bad-answers": Scenario(
        about="5xx, broken, truncated and wrong bodies, resets and hangs, for everything but creates; 503 for those",
        faults=(
            *(upstream("get", kind, for_s=16.0, probability=0.06) for kind in ODD_GETS),
            *(
                upstream("get", status=status, for_s=16.0, probability=0.06)
                for status in (401, 403, 500, 502, 503, 504)
            ),
            *(upstream("cancel", status=status, for_s=16.0, probability=0.2) for status in (404, 500, 503)),
            upstream("cancel", "ignored", for_s=16.0, probability=0.2),
            upstream("create", status=503, for_s=16.0, probability=0.05),
        ),
        mix=Mix(cancels=0.15),
    ),
    "missing": Scenario(
        about="every interaction unknown for 20 s after it was made",
        faults=(after(2, upstream("get", status=404, for_s=20.0)),),
    ),
    "stuck": Scenario(
        about="runs that never end, with a short timeout",
        faults=(),
        terms=Terms(statuses=frozenset({"expired"})),
        mix=Mix(directives={"[[sim: status=stuck]]": 0.3}, followers=0, fields={"timeout_seconds": 12}),
    ),
    "failing-runs": Scenario(
        about="runs that fail upstream for a moment or for good",
        faults=(),
        terms=Terms(errors=frozenset({"upstream_failed", "upstream_rejected"})),
        mix=Mix(directives={"[[sim: status=failed code=service_unavailable]]": 0.2}),
    ),
    "odd-clocks": Scenario(
        about="an upstream whose clock is a day ahead, and runs that tell of times long past",
        faults=(clock_ahead(86_400), again(10, 1, odd_times(1))),
    ),
    "bad-key": Scenario(
        about="the upstream refuses the key for 12 s: every job waits, and all goes on by itself",
        faults=(after(4, bad_key(12)),),
        terms=UNCONFIRMED,
        over_s=20,
    ),
    "limits": Scenario(
        about="at most 12 in flight and 5 of one target, with three workers and rolling restarts",
        faults=(crowded(12, 5, 40), after(6, roll())),
        env={**SHORT_CLAIMS, "NIGHTDESK_MAX_IN_FLIGHT": "12", "NIGHTDESK_MAX_IN_FLIGHT_PER_TARGET": "5"},
        simulator={"model_s": 1.5, "agent_s": 1.5},
        workers=3,
    ),
    "rolling": Scenario(
        about="SIGTERM to worker after worker and to the API, all under load",
        faults=(after(2, roll()), after(5, again(3, 7, roll("api")))),
        workers=3,
        over_s=40,
    ),
    "kill-api": Scenario(
        about="SIGKILL to the API in the middle of requests",
        faults=(again(4, 6, kill_the_api),),
        databases=(POSTGRESQL, SQLITE),
        over_s=28,
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
    "beats-start": Scenario(
        about="SIGKILL at both sides of every commit of a start",
        faults=killed_at_each("start claims", "start sends", "start records", "sweep gives up", "unconfirmed decides"),
        terms=UNCONFIRMED,
        over_s=70,
        deaths=CANNOT_START,
    ),
    "beats-poll": Scenario(
        about="SIGKILL at both sides of every commit of polling, settling and cancelling",
        faults=killed_at_each("poll claims", "poll records", "settle", "cancel claims", "cancel records"),
        terms=UNCONFIRMED,
        mix=Mix(cancels=0.2),
        over_s=70,
        deaths=CANNOT_START,
    ),
    "beats-deliver": Scenario(
        about="SIGKILL at both sides of every commit of delivering and submitting",
        faults=killed_at_each("deliver claims", "deliver records", "submit"),
        terms=UNCONFIRMED,
        over_s=45,
        deaths=CANNOT_START,
    ),
    "mixed": Scenario(
        about="everything at once, drawn from the seed",
        faults=(again(9, 3, any_of(*ANYTHING)),),
        terms=UNCONFIRMED,
        workers=3,
        deaths=CANNOT_START,
        mix=Mix(webhooks=1.0, manners={receiver.WELL: 6, receiver.FLAKY: 2, receiver.SLOW: 1, receiver.RUDE: 1}),
        over_s=40,
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
