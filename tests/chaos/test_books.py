"""The books themselves: one job as it should be, and everything that may be wrong with it is noticed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.chaos import books
from tests.chaos.books import Terms, check
from tests.chaos.client import Heard
from tests.chaos.cooked import (
    HOOK,
    JOB,
    NOW,
    RUN,
    TYPES,
    body,
    delivery,
    event,
    good,
    job,
    line,
    row,
    run,
)
from tests.chaos.evidence import Evidence
from worker.dev.simulator.prompt import prompt_hash
from worker.states import Status

LATER = NOW + timedelta(hours=1)
FAILING = HOOK.replace("well", "failing")
UNCONFIRMED = {"code": "create_unconfirmed"}
ALLOWED = Terms(errors=frozenset({"create_unconfirmed"}))

Case = tuple[str, Callable[[Evidence], Evidence]]
"""What is said of it, and how it comes about."""


def failed(code: str, **changes: object) -> Callable[[Evidence], Evidence]:
    """The job ended so, and its events tell it."""

    def change(e: Evidence) -> Evidence:
        ended = job(status=Status.FAILED, error={"code": code}, **changes)
        return replace(e, jobs={JOB: ended}, events={JOB: [*e.events[JOB][:2], event(3, "job.failed")]})

    return change


def to_failing(e: Evidence, **changes: object) -> Evidence:
    """The receiver is one that never says 2xx."""
    ordered = replace(e.orders[0], bodies=[e.orders[0].bodies[0] | {"webhook_url": FAILING}])
    told = delivery(url=FAILING, **changes)
    return replace(e, orders=[ordered], jobs={JOB: job(webhook_url=FAILING)}, deliveries={"evt_3": [told]})


BROKEN: dict[str, dict[str, Case]] = {
    books.LOST: {
        "the job does not exist": ("does not exist", lambda e: replace(e, jobs={})),
        "the job never ended": ("is in_progress", lambda e: replace(e, jobs={JOB: job(status=Status.IN_PROGRESS)})),
    },
    books.EVENT: {
        "an event is missing": ("sequences", lambda e: replace(e, events={JOB: e.events[JOB][:1] + e.events[JOB][2:]})),
        "the job ended twice": (
            "terminal events",
            lambda e: replace(e, events={JOB: [*e.events[JOB], event(4, "job.failed")]}, jobs={JOB: job(sequence=4)}),
        ),
        "the end is another": ("terminal events", lambda e: replace(e, jobs={JOB: job(status=Status.INCOMPLETE)})),
        "the end is not told": (
            "terminal events []",
            lambda e: replace(e, events={JOB: e.events[JOB][:2]}, jobs={JOB: job(sequence=2)}),
        ),
        "something came after the end": (
            "terminal events",
            lambda e: replace(e, events={JOB: [*e.events[JOB], event(4, TYPES[1])]}, jobs={JOB: job(sequence=4)}),
        ),
        "a stream told an event twice": (
            "the stream of",
            lambda e: replace(e, streamed={JOB: [(1, TYPES[0]), *e.streamed[JOB]]}),
        ),
    },
    books.CREATE: {
        "a run has no row": ("2 created upstream, 1 rows", lambda e: replace(e, upstream=[run(), run(id="v1_other")])),
        "two runs though a lost answer is final": (
            "2 created under `fail`",
            lambda e: replace(
                e,
                upstream=[run(), run(id="v1_other")],
                interactions={JOB: [row(token="b", upstream_id=None), row(attempt=2)]},
            ),
        ),
        "two POSTs though a lost answer is final": (
            "2 POSTs under `fail`",
            lambda e: replace(e, asked=dict.fromkeys(e.asked, 2)),
        ),
        "a result of nothing": ("nothing was created for it", lambda e: replace(e, upstream=[])),
        "an answered create was sent again": (
            "was bought again",
            lambda e: replace(e, interactions={JOB: [row(token="b", upstream_id="v1_other"), row(attempt=2)]}),
        ),
        "two POSTs for one attempt": (
            "2 POSTs for 1 attempts",
            lambda e: replace(e, interactions={JOB: [row(token="b", upstream_id=None), row()]}),
        ),
        "more attempts than were allowed": (
            "4 POSTs for 4 attempts",
            lambda e: replace(
                e,
                jobs={JOB: job(attempt=4)},
                interactions={
                    JOB: [*(row(token=str(n), upstream_id=None, attempt=n) for n in (1, 2, 3)), row(attempt=4)]
                },
            ),
        ),
        "an answer made two runs": (
            "2 POSTs for 1 attempts at turn 2",
            lambda e: replace(
                e,
                jobs={JOB: job(turn=2, on_unknown_create="retry")},
                interactions={JOB: [row(token="b", upstream_id=None, turn=2), row(turn=2)]},
            ),
        ),
        "a turn that nobody asked for": (
            "asked 0 times in 2 turns",
            lambda e: replace(e, jobs={JOB: job(turn=2)}),
        ),
        "an answer came to a run that had not asked": (
            "was bought again",
            lambda e: replace(e, interactions={JOB: [row(token="b", upstream_id="v1_other"), row(turn=2)]}),
        ),
        "a job asked and nobody was told": (
            "asked 0 times in 2 turns, 1 runs did, 1 ordered",
            lambda e: replace(
                e,
                orders=[replace(e.orders[0], answers=1)],
                jobs={JOB: job(turn=2)},
                interactions={JOB: [row(token="b", upstream_id="v1_asked", status="requires_action"), row(turn=2)]},
            ),
        ),
        "an unknown run that no lost answer explains": (
            "1 unknown runs, 0 lost answers",
            lambda e: replace(e, upstream=[run(id="v1_other")]),
        ),
        "a run nobody ordered": (
            "runs upstream for no job",
            lambda e: replace(e, upstream=[run(), run(prompt_hash="0")]),
        ),
        "a run outlives its job": ("goes on upstream", lambda e: replace(e, upstream=[run(status="in_progress")])),
        "a retried POST made a second job": (
            "belongs to no order",
            lambda e: replace(e, jobs={JOB: job(), "job_2": job(id="job_2")}),
        ),
        "one key gave two jobs": (
            "gave other jobs",
            lambda e: replace(e, orders=[replace(e.orders[0], replayed_ids=["job_2"])]),
        ),
    },
    books.DELIVERY: {
        "a webhook never came": ("came 0 times", lambda e: replace(e, received=[])),
        "a webhook came with a bad signature": (
            "must not be",
            lambda e: replace(e, received=[line(), line(verified=False)]),
        ),
        "a webhook tells of no event": (
            "must not be",
            lambda e: replace(e, received=[line(), line(webhook_id="evt_9")]),
        ),
        "an event came under two ids": (
            "under several ids",
            lambda e: replace(e, received=[line(), line(webhook_id="evt_2")]),
        ),
        "a redirect was followed": ("must not be", lambda e: replace(e, received=[line(), line(manner="trap")])),
        "an event has two deliveries": (
            "has 2 deliveries",
            lambda e: replace(e, deliveries={"evt_3": [delivery(), delivery(id="dlv_2")]}),
        ),
        "an event has no delivery": ("has 0 deliveries", lambda e: replace(e, deliveries={})),
        "a webhook that came is still to be sent": (
            "and is pending",
            lambda e: replace(e, deliveries={"evt_3": [delivery(status="pending", due_at=LATER)]}),
        ),
        "an end that nobody was to be told": (
            "nobody was to be told",
            lambda e: replace(
                e, events={JOB: [event(place, kind, payload=None) for place, kind in enumerate(TYPES, 1)]}
            ),
        ),
        "the URL of the order is forgotten": (
            "another webhook_url",
            lambda e: replace(e, jobs={JOB: job(webhook_url=None)}),
        ),
        "a receiver that only fails is said to have been told": (
            "is delivered after 1 attempts",
            to_failing,
        ),
        "a receiver that fails was never tried": (
            "is pending after 0 attempts",
            lambda e: to_failing(e, status="pending", attempts=0, due_at=LATER),
        ),
    },
    books.RESULT: {
        "the job shows another text": ("shows another text", lambda e: replace(e, shown={JOB: {"output_text": "No."}})),
        "the webhook told another text": (
            "tells another text",
            lambda e: replace(e, received=[line(output_text="Nothing.")]),
        ),
        "the upstream told nothing": (
            "shows another text",
            lambda e: replace(e, bodies={RUN: body("")}, shown={JOB: {"output_text": None}}),
        ),
        "a source is missing": (
            "other citations",
            lambda e: replace(e, shown={JOB: e.shown[JOB] | {"citations": []}}),
        ),
    },
    books.STUCK: {
        "an ended job is claimed": ("claimed or due", lambda e: replace(e, jobs={JOB: job(claim="a")})),
        "an ended job is due": ("claimed or due", lambda e: replace(e, jobs={JOB: job(due_at=NOW)})),
        "a delivery is claimed": (
            "still claimed or due",
            lambda e: replace(e, deliveries={"evt_3": [delivery(claim="a")]}),
        ),
        "a delivery that is done is due": (
            "still claimed or due",
            lambda e: replace(e, deliveries={"evt_3": [delivery(due_at=LATER)]}),
        ),
        "a delivery is overdue": (
            "overdue",
            lambda e: replace(e, deliveries={"evt_3": [delivery(status="pending", due_at=NOW)]}),
        ),
        "a delivery is never due": (
            "overdue since None",
            lambda e: replace(e, deliveries={"evt_3": [delivery(status="pending")]}),
        ),
        "messages are left": ("are left in the queues", lambda e: replace(e, backlog={"start": 9})),
        "a queue grew with the jobs": ("queues have grown", lambda e: replace(e, longest={"start": 1000})),
    },
    books.ENDING: {
        "a job failed for no reason": ("ended failed upstream_failed", failed("upstream_failed")),
        "a job was given up though its answer came": ("ended failed create_unconfirmed", failed("create_unconfirmed")),
        "a job was cancelled by nobody": (
            "ended cancelled",
            lambda e: replace(e, jobs={JOB: job(status=Status.CANCELLED)}),
        ),
        "a job ended half done": (
            "ended incomplete",
            lambda e: replace(e, jobs={JOB: job(status=Status.INCOMPLETE)}),
        ),
        "a job failed for a predecessor that completed": (
            "ended failed previous_job_failed",
            lambda e: replace(
                failed("previous_job_failed", previous_job_id="job_0")(e),
                jobs={
                    JOB: job(status=Status.FAILED, error={"code": "previous_job_failed"}, previous_job_id="job_0"),
                    "job_0": job(id="job_0"),
                },
            ),
        ),
    },
    books.HTTP: {
        "the API broke": (
            "was answered 500",
            lambda e: replace(e, heard=[Heard(0.0, "POST /v1/jobs", 500, "internal_error")]),
        ),
        "the API refused what is right": (
            "was answered 404",
            lambda e: replace(e, heard=[Heard(0.0, "GET /v1/jobs", 404, "not_found")]),
        ),
        "a client was not served": ("was not accepted", lambda e: replace(e, faults=["order 1 was not accepted"])),
    },
}
CASES = [(kind, what) for kind, cases in BROKEN.items() for what in cases]


def test_a_run_in_which_all_went_well_breaks_nothing() -> None:
    assert check(good(), Terms()) == []


def test_a_job_that_asked_and_was_answered_breaks_nothing() -> None:
    order = replace(good().orders[0], answers=1)
    first, second = map(prompt_hash, order.prompts(order.bodies[0]))
    asked = row(token="b", upstream_id="v1_asked", status="requires_action")
    kinds = ("job.created", "job.started", "job.requires_action", "job.started", "job.completed")
    told = [event(place, kind, payload=b"{}" if place in {3, 5} else None) for place, kind in enumerate(kinds, 1)]
    lines = [line(webhook_id=f"evt_{place}", sequence=place, type=kinds[place - 1]) for place in (3, 5)]
    evidence = replace(
        good(),
        orders=[order],
        jobs={JOB: job(turn=2, sequence=5)},
        events={JOB: told},
        deliveries={f"evt_{place}": [delivery(id=f"dlv_{place}", event_id=f"evt_{place}")] for place in (3, 5)},
        interactions={JOB: [asked, row(turn=2)]},
        upstream=[run(id="v1_asked", status="requires_action", prompt_hash=first), run(prompt_hash=second)],
        asked={first: 1, second: 1},
        received=lines,
        streamed={JOB: list(enumerate(kinds, 1))},
    )

    assert check(evidence, Terms()) == []


def test_a_receiver_that_only_fails_must_be_tried_and_no_more() -> None:
    evidence = to_failing(good(), status="pending", attempts=3, due_at=LATER)

    assert check(replace(evidence, received=[line(manner="failing")]), Terms()) == []


def test_a_lost_answer_may_end_a_job_where_the_scenario_says_so() -> None:
    evidence = replace(failed("create_unconfirmed")(good()), interactions={JOB: [row(upstream_id=None)]}, bodies={})
    told = replace(evidence, received=[line(type="job.failed")], streamed={})

    assert check(told, ALLOWED) == []
    assert [violation.kind for violation in check(told, Terms())] == [books.ENDING]


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_whatever_is_wrong_is_noticed_and_named(kind: str, what: str) -> None:
    said, change = BROKEN[kind][what]

    found = check(change(good()), ALLOWED)

    assert [violation for violation in found if violation.kind == kind and said in violation.text], found


def test_no_rule_is_without_a_case_that_breaks_it() -> None:
    made = [change(good()) for cases in BROKEN.values() for _, change in cases.values()]

    assert [rule.__name__ for rule in books.RULES if not any(list(rule(evidence)) for evidence in made)] == []


def test_refused_creates_are_no_second_ones() -> None:
    evidence = replace(good(), jobs={JOB: job(refusals=2)}, asked={prompt_hash(good().orders[0].bodies[0]["input"]): 3})

    assert check(evidence, Terms()) == []
