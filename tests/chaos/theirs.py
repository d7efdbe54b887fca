"""Scenarios in which others fail: the upstream, and those who are to be told of the end."""

from tests.chaos import bars, receiver
from tests.chaos.books import Terms
from tests.chaos.faults import freeze, gone, kill_every_worker
from tests.chaos.orders import Mix
from tests.chaos.scenario import UNCONFIRMED, Scenario
from tests.chaos.script import after, again, in_turn
from tests.chaos.weather import bad_key, clock_ahead, odd_times, outage, upstream

LOST_CREATES = ("lost", "hang", "html", "truncated", "broken", "close", "reset", "accepted")
ODD_GETS = ("html", "truncated", "broken", "close", "reset", "lost", "hang")

UPSTREAM: dict[str, Scenario] = {
    "lost-answers": Scenario(
        about="creates whose answer is lost in every way, for jobs that fail then and jobs that try again",
        faults=(
            *(upstream("create", kind, for_s=14.0, probability=0.06) for kind in LOST_CREATES),
            *(upstream("create", status=status, for_s=14.0, probability=0.04) for status in (408, 500, 502, 504)),
            *(upstream("create", status=status, made=True, for_s=14.0, probability=0.02) for status in (499, 500)),
        ),
        terms=UNCONFIRMED,
    ),
    "outage": Scenario(
        about="the upstream gone for 20 s with everything in flight, then back; frozen for 9 s",
        faults=(in_turn(after(4, outage(20)), after(6, freeze(9, "simulator"))),),
        terms=UNCONFIRMED,
        over_s=36,
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
        about="every interaction unknown for more than two minutes after it was made",
        faults=(after(2, upstream("get", status=404, for_s=130.0)),),
        faults_s=240,
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
        bar=bars.resumed,
    ),
}

ALL_MANNERS = {
    manner: 4.0 if manner == receiver.WELL else 1.0 for manner in receiver.HOSTS if manner not in receiver.FOR_ENDPOINTS
}

RECEIVERS: dict[str, Scenario] = {
    "receivers": Scenario(
        about="receivers that fail, hang, redirect, hang up, and stream without end, beside those that work",
        faults=(after(6, kill_every_worker),),
        terms=UNCONFIRMED,
        mix=Mix(webhooks=1.0, manners=ALL_MANNERS),
    ),
    "receiver-gone": Scenario(
        about="the receiver killed for a while, frozen for a while",
        faults=(in_turn(after(4, gone("receiver", 6)), after(3, freeze(8, "receiver"))),),
        mix=Mix(webhooks=1.0),
        over_s=16,
    ),
}
