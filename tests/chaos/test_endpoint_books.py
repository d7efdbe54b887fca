"""The books of endpoints: lives in which all is as it should be, and whatever may be wrong with them is noticed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import acts, bars, books, endpoint_books, operator_books
from tests.chaos.acts import Act, Sight
from tests.chaos.books import Terms, Violation
from tests.chaos.cooked import good
from tests.chaos.cooked_endpoints import (
    DELETED,
    DISABLED_AT,
    EVENT,
    FAILING,
    FOREIGN,
    GONE,
    NEW,
    NEXT_DOOR,
    OLD,
    OTHER,
    SAID,
    TEST,
    TOLD,
    WELL,
    act,
    arrival,
    at,
    attempt,
    entry,
    lives,
    moment,
    row,
    to,
    url,
)
from tests.chaos.evidence import Evidence
from worker.document import stamp
from worker.models import Delivery
from worker.states import ENDPOINT_DISABLED, PING

RULES = [*endpoint_books.RULES, *operator_books.RULES]
Change = Callable[[Evidence], Evidence]


def check(evidence: Evidence) -> list[Violation]:
    return [violation for rule in RULES for violation in rule(evidence)]


def known(**changes: Any) -> Change:
    """Something else is known of the endpoints."""
    return lambda e: replace(e, registered=replace(e.registered, **changes))


def adding(**more: Any) -> Change:
    """More is known of the endpoints."""

    def change(e: Evidence) -> Evidence:
        lists: dict[str, Any] = {name: [*getattr(e.registered, name), value] for name, value in more.items()}
        return replace(e, registered=replace(e.registered, **lists))

    return change


def both(*changes: Change) -> Change:
    def change(e: Evidence) -> Evidence:
        for one in changes:
            e = one(e)
        return e

    return change


def delivered(event_id: str, *rows: Delivery) -> Change:
    """There are these deliveries of an event, and no others."""
    return lambda e: replace(e, deliveries={**e.deliveries, event_id: list(rows)})


def beside(*rows: Delivery) -> Change:
    """There are these deliveries of the job's end, too."""
    return lambda e: delivered(EVENT, *e.deliveries[EVENT], *rows)(e)


def less(endpoint_id: str, *rows: Delivery) -> Change:
    """Instead of what was to tell this endpoint of the job's end there are these deliveries."""
    return lambda e: delivered(EVENT, *(one for one in e.deliveries[EVENT] if one.endpoint_id != endpoint_id), *rows)(e)


def instead(**changes: Any) -> Change:
    """The delivery to the endpoint that is well is another."""
    return less(WELL, to(WELL, **changes))


def come(*endpoint_ids: str) -> Change:
    """Only to these endpoints something came."""
    return lambda e: known(arrivals=[one for one in e.registered.arrivals if one.mark in endpoint_ids])(e)


def as_is(endpoint_id: str, **changes: Any) -> Change:
    """The row of an endpoint is another."""

    def change(e: Evidence) -> Evidence:
        known_as = {"events": e.registered.rows[endpoint_id].events}
        return known(rows={**e.registered.rows, endpoint_id: row(endpoint_id, **known_as | changes)})(e)

    return change


def without(endpoint_id: str) -> Change:
    return lambda e: known(rows={name: one for name, one in e.registered.rows.items() if name != endpoint_id})(e)


def seen(endpoint_id: str, reason: str, seconds: float = 3) -> Change:
    """It was seen disabled."""
    return adding(sights=Sight(endpoint_id, str(stamp(moment(seconds))), reason))


def done(of: Act, *entries: Any) -> Change:
    """One more act, and what the audit log has of it."""
    return both(adding(acts=of), *(adding(audit=one) for one in entries))


MOVED = url(WELL).replace(".1", ".9")
LOST = act(20, acts.CHANGED, WELL, 20, status=0, answered_at=float("inf"), told={"events": ["job.failed"]})
OWNER = act(21, acts.CHANGED, WELL, 2, told={"enabled": False})
THEIRS = replace(act(22, acts.REFUSED, WELL, 5, status=200), tenant=NEXT_DOOR)
AGAIN = act(23, acts.ROTATED, FOREIGN, 5)
TWICE = act(26, acts.REDELIVERED, to(WELL).id, 5)

HELD = to(GONE, status="held", attempts=2, due_at=moment(3600))
TRIES = ((1, 1), (2, 20))

BROKEN: dict[str, tuple[str, Change]] = {
    "an endpoint was passed over": ("has 0 deliveries to whe_1", less(WELL)),
    "an endpoint was told twice": ("has 2 deliveries to whe_1", beside(to(WELL, id="dlv_9"))),
    "a deleted endpoint is still told": ("has 1 deliveries to whe_3", beside(to(DELETED))),
    "an endpoint was told what it did not ask for": ("job.started evt_2 has 1", delivered("evt_2", to(WELL, "evt_2"))),
    "a delivery of nobody's": ("that nobody knows", beside(to("whe_9"))),
    "a delivery of nothing": ("that nobody knows", delivered("evt_9", to(WELL, "evt_9"))),
    "another project hears of it": ("brings another project's", beside(to(FOREIGN))),
    "an endpoint was told of its own end": (
        "of itself",
        lambda e: delivered(TOLD, *e.deliveries[TOLD], to(GONE, TOLD, event_type=ENDPOINT_DISABLED, body=SAID))(e),
    ),
    "a ping was not sent": ("has 0 pings of 1", delivered(TEST)),
    "a ping that nobody asked for": (
        "has 1 pings of 0",
        delivered("evt_9", to(WELL, "evt_9", event_type=PING, body=SAID)),
    ),
    "a delivery that is made never came": ("delivered and never came", come(GONE, FAILING)),
    "a delivery waits where all is well": ("/well/whe_1.1 is pending", instead(status="pending")),
    "a delivery is held where nothing is disabled": ("/well/whe_1.1 is held", instead(status="held")),
    "a delivery was cancelled that was not to be": ("/well/whe_1.1 is cancelled", instead(status="cancelled")),
    "a delivery was given up": ("/well/whe_1.1 is exhausted", instead(status="exhausted")),
    "a delivery waits for a deleted endpoint": (
        "(webhook.ping) to http://127.0.0.1:1/default/well/whe_3.1 is held",
        lambda e: delivered(TEST, *(replace_status(one, "held") for one in e.deliveries[TEST]))(e),
    ),
    "what comes is nobody's": ("must not be", adding(arrivals=arrival(WELL, EVENT, 1, NEW, OLD, place="whe_9.1"))),
    "what comes was not to come": ("must not be", adding(arrivals=arrival(FOREIGN, EVENT, 1, OTHER))),
    "what comes has other bytes": ("other bytes", adding(arrivals=arrival(WELL, EVENT, 1, NEW, OLD, digest="0"))),
    "what comes has another's header": (
        "the header of",
        adding(arrivals=arrival(WELL, EVENT, 1, NEW, OLD, mark="whe_2")),
    ),
    "what comes is signed by the old secret alone": ("signed otherwise", adding(arrivals=arrival(WELL, EVENT, 1, OLD))),
    "what comes is signed by the new secret alone": ("signed otherwise", adding(arrivals=arrival(WELL, EVENT, 1, NEW))),
    "what comes is signed by another's": ("signed otherwise", adding(arrivals=arrival(WELL, EVENT, 1, NEW, OTHER))),
    "what comes was signed too early": ("signed otherwise", adding(arrivals=arrival(WELL, EVENT, -80, NEW, OLD))),
    "what comes went where it was before": (
        "when whe_1 was not there",
        both(
            done(act(20, acts.CHANGED, WELL, 20, told={"url": MOVED})),
            adding(arrivals=arrival(WELL, EVENT, 30, NEW, OLD)),
        ),
    ),
    "what comes was sent after the end": (
        "when whe_3 was not there",
        adding(arrivals=arrival(DELETED, TEST, 1, OTHER)),
    ),
    "what comes was sent before the end and comes late": (
        "long after it was deleted",
        adding(arrivals=arrival(DELETED, TEST, -29, OTHER, at=at(0))),
    ),
    "a disabled endpoint was disturbed": (
        "disabled and unasked",
        both(
            known(sights={Sight(GONE, str(stamp(moment(-12))), "gone")}),
            adding(arrivals=arrival(GONE, EVENT, 5, OTHER)),
        ),
    ),
    "an attempt was not logged": ("has the attempts [] of 1", known(attempts={})),
    "an attempt was answered that did not come": (
        "was answered 1 times and did not come",
        come(GONE, WELL),
    ),
    "nobody will ever try again": ("is pending and never due", as_is(FAILING, failures=1, failing_since=moment(1))),
    "nobody looks at an endpoint": ("is overdue since", as_is(WELL, due_at=moment(-60))),
    "a disabling was told twice": (
        "was told of 2 times",
        delivered("evt_9", to(WELL, "evt_9", event_type=ENDPOINT_DISABLED, body=SAID, created_at=moment(DISABLED_AT))),
    ),
    "a disabling was not told": ("was told of 0 times", delivered(TOLD)),
    "a disabling by its operator was told": (
        "disabled by owner, was told of 1 times",
        known(sights={Sight(GONE, str(stamp(moment(DISABLED_AT))), "owner")}),
    ),
    "a disabling that nobody saw": ("which nobody saw", known(sights=set())),
    "an endpoint was disabled for nothing": ("without a cause", seen(WELL, "gone")),
    "an endpoint was disabled as by an operator who did not": ("without a cause", seen(WELL, "owner")),
    "an endpoint was given up after minutes": ("without a cause", seen(FAILING, "failing")),
    "a 410 was not heeded": ("answered 410 and was not disabled", known(sights=set())),
    "an endpoint is not there": ("is gone and should not be", without(WELL)),
    "a deleted endpoint is there": (
        "is there and should not be",
        lambda e: known(rows={**e.registered.rows, DELETED: row(DELETED, "job.completed")})(e),
    ),
    "an endpoint that nobody made": (
        "was made by nobody",
        lambda e: known(rows={**e.registered.rows, "whe_9": row(WELL)})(e),
    ),
    "a change of URL was forgotten": (
        "another URL or filter",
        done(act(20, acts.CHANGED, WELL, 20, told={"url": MOVED})),
    ),
    "a change of filter was forgotten": (
        "another URL or filter",
        done(act(20, acts.CHANGED, WELL, 20, told={"events": None})),
    ),
    "an endpoint that was enabled is not": ("whe_2 is disabled at", as_is(GONE, disabled_at=moment(1))),
    "an endpoint that was disabled is not": ("whe_1 is disabled at None: True", both(done(OWNER), seen(WELL, "owner"))),
    "failures are kept of one that is well": ("took everything and has 3 failures", as_is(WELL, failures=3)),
    "failures are forgotten": ("failed 1 times: 0 since", as_is(FAILING, due_at=moment(70))),
    "it is not known since when it fails": (
        "failed 1 times: 1 since inf",
        as_is(FAILING, failures=1, due_at=moment(70)),
    ),
    "it is said to fail for longer than it does": (
        "failed 1 times: 1 since",
        as_is(FAILING, failures=1, due_at=moment(70), failing_since=moment(-30)),
    ),
    "a project got at another's": ("was answered 200", done(THEIRS)),
    "something right was refused": ("was answered 404", done(act(20, acts.PINGED, WELL, 20, status=404))),
    "a ping was never tried": (
        "(endpoint.ping) asked for dlv_whe_3_evt_ping, and it was not tried",
        lambda e: delivered(TEST, *(replace_status(one, "pending") for one in e.deliveries[TEST]))(e),
    ),
    "a redelivery was not tried again": (
        "(delivery.redeliver) asked for dlv_whe_1_evt_3, and it was not tried",
        done(TWICE, entry(TWICE)),
    ),
    "an act is not noted": ("200, has 0 entries", done(AGAIN)),
    "an act is noted twice": ("200, has 2 entries", done(AGAIN, entry(AGAIN), entry(AGAIN))),
    "an act without an answer is noted twice": ("0, has 2 entries", done(LOST, entry(LOST), entry(LOST))),
    "what was refused is noted": ("200, has 1 entries", done(THEIRS, entry(THEIRS))),
    "an act is noted as another's": ("is noted as endpoint.rotate", done(AGAIN, entry(AGAIN, actor="key_default"))),
    "an act is noted of something else": ("of whe_1", done(AGAIN, entry(AGAIN, subject=WELL))),
    "an act of nobody is noted": ("was done by nobody", adding(audit=entry(AGAIN))),
}


def replace_status(one: Delivery, status: str) -> Delivery:
    return to(DELETED, TEST, event_type=PING, body=one.body, attempts=0, status=status)


def test_lives_in_which_all_went_well_break_nothing() -> None:
    assert check(lives()) == []
    assert books.check(lives(), Terms()) == []


@pytest.mark.parametrize("what", BROKEN)
def test_whatever_is_wrong_with_endpoints_is_noticed_and_named(what: str) -> None:
    said, change = BROKEN[what]

    found = check(change(lives()))

    assert [violation for violation in found if said in violation.text], found


def test_no_rule_of_endpoints_is_without_a_case_that_breaks_it() -> None:
    made = [change(lives()) for _, change in BROKEN.values()]

    assert [rule.__name__ for rule in RULES if not any(list(rule(evidence)) for evidence in made)] == []


def test_an_act_that_nobody_answered_may_have_happened_or_not() -> None:
    lost = replace(LOST, told={})

    assert check(done(lost)(lives())) == []
    assert check(done(lost, entry(lost))(lives())) == []


def test_what_happens_while_a_filter_changes_may_be_told_or_not() -> None:
    changing = act(20, acts.CHANGED, WELL, -1, told={"events": [ENDPOINT_DISABLED]})
    changed = both(done(changing, entry(changing)), as_is(WELL, events=[ENDPOINT_DISABLED]))(lives())
    untold = both(
        less(WELL),
        lambda e: known(arrivals=[a for a in e.registered.arrivals if (a.mark, a.webhook_id) != (WELL, EVENT)])(e),
    )

    assert check(changed) == []
    assert check(untold(changed)) == []


def test_every_secret_that_was_replaced_signs_along() -> None:
    third = act(25, acts.ROTATED, WELL, 5, answer={"secret": OTHER})
    turned = done(third, entry(third))(lives())

    assert check(adding(arrivals=arrival(WELL, EVENT, 20, OTHER, NEW, OLD))(turned)) == []
    assert [one.text for one in check(adding(arrivals=arrival(WELL, EVENT, 20, OTHER, NEW))(turned))] == [
        "evt_3 came to whe_1 signed otherwise than it should be"
    ]


def test_a_disabled_endpoint_holds_its_events_and_hears_what_its_operator_asks_for() -> None:
    asked = act(24, acts.REDELIVERED, to(GONE).id, 11)
    held = both(
        lambda e: known(acts=[*e.registered.acts[:8], *e.registered.acts[9:]], audit=e.registered.audit[:8])(e),
        as_is(GONE, disabled_at=moment(DISABLED_AT), failures=2, failing_since=moment(1)),
        less(GONE, HELD),
        lambda e: known(attempts={**e.registered.attempts, HELD.id: [attempt(HELD, n, s, 410) for n, s in TRIES]})(e),
    )(lives())

    assert [one.text for one in check(held)] == ["evt_3 came to whe_2, disabled and unasked"]
    assert check(done(asked, entry(asked))(held)) == []


def test_a_run_tells_how_much_of_it_was_witnessed() -> None:
    bar = bars.witnessed(lives())

    assert bar.text == (
        "4 deliveries owed to endpoints, 0 perhaps; 10 acts, 0 of them unanswered; "
        "disabled 1 times by 410, 0 by operators"
    )
    assert bar.violations == []
    assert [one.text for one in bars.witnessed(good()).violations] == ["nothing was certainly owed to any endpoint"]
