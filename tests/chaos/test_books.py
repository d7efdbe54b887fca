"""The books themselves: one job as it should be, and everything that may be wrong with it is noticed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos import books
from tests.chaos.books import Terms, check
from tests.chaos.client import Heard
from tests.chaos.evidence import Evidence
from tests.chaos.orders import Order
from worker.dev.simulator.prompt import prompt_hash
from worker.models import Delivery, Event, Interaction, Job
from worker.states import Status

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROMPT, TEXT = "Case 1: say what you know of it.", "All that is known."
JOB, RUN, HOOK = "job_1", "v1_run", "http://127.0.0.1:1/well"
TYPES = ("job.created", "job.started", "job.completed")


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": JOB,
        "project_id": "prj_1",
        "status": Status.COMPLETED,
        "kind": "model",
        "target": "gemini-3.8-flash",
        "priority": 1,
        "created_at": NOW,
        "finished_at": NOW,
        "sequence": 3,
        "timeout_seconds": 60,
        "queue_timeout_seconds": 60,
        "action_timeout_seconds": 60,
        "max_attempts": 3,
        "on_unknown_create": "fail",
        "retention_days": 30,
        "interaction_id": RUN,
        "webhook_url": HOOK,
        "notes": [],
    }
    return Job(**fields | changes)


def event(sequence: int, kind: str) -> Event:
    payload = b"{}" if sequence == 3 else None
    return Event(
        id=f"evt_{sequence}",
        project_id="prj_1",
        job_id=JOB,
        sequence=sequence,
        type=kind,
        created_at=NOW,
        data={},
        payload=payload,
    )


def delivery(**changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "id": "dlv_1",
        "project_id": "prj_1",
        "job_id": JOB,
        "event_id": "evt_3",
        "url": HOOK,
        "host": "127.0.0.1",
        "status": "delivered",
        "created_at": NOW,
        "attempts": 1,
    }
    return Delivery(**fields | changes)


def row(**changes: Any) -> Interaction:
    fields: dict[str, Any] = {"token": "a", "job_id": JOB, "turn": 1, "attempt": 1, "created_at": NOW, "sent_at": NOW}
    return Interaction(**fields | {"upstream_id": RUN, "status": "completed"} | changes)


def run(**changes: Any) -> dict[str, Any]:
    return {"id": RUN, "prompt_hash": prompt_hash(PROMPT), "status": "completed"} | changes


def line(**changes: Any) -> dict[str, Any]:
    told = {"job_id": JOB, "sequence": 3, "type": "job.completed", "output_text": TEXT, "truncated": False}
    return {"webhook_id": "evt_3", "verified": True, "manner": "well", **told} | changes


def body(text: str) -> dict[str, Any]:
    return {"steps": [{"type": "model_output", "content": [{"type": "text", "text": text}]}]}


@pytest.fixture
def evidence() -> Evidence:
    order = Order("key", [{"input": PROMPT, "webhook_url": HOOK}], job_ids=[JOB])
    return Evidence(
        orders=[order],
        heard=[Heard(0.0, "POST /v1/jobs", 202, "")],
        faults=[],
        diary=[],
        now=NOW + timedelta(minutes=1),
        jobs={JOB: job()},
        events={JOB: [event(place, kind) for place, kind in enumerate(TYPES, 1)]},
        deliveries={"evt_3": [delivery()]},
        interactions={JOB: [row()]},
        shown={JOB: {"output_text": TEXT}},
        upstream=[run()],
        bodies={RUN: body(TEXT)},
        received=[line()],
        streamed={JOB: list(enumerate(TYPES, 1))},
        backlog={"start": 0},
    )


def test_a_run_in_which_all_went_well_breaks_nothing(evidence: Evidence) -> None:
    found = check(evidence, Terms())

    assert found == []


Broken = dict[str, Callable[[Evidence], Evidence]]
BROKEN: dict[str, Broken] = {
    books.LOST: {
        "the job does not exist": lambda e: replace(e, jobs={}),
        "the job never ended": lambda e: replace(e, jobs={JOB: job(status=Status.IN_PROGRESS)}),
    },
    books.EVENT: {
        "an event is missing": lambda e: replace(e, events={JOB: e.events[JOB][:1] + e.events[JOB][2:]}),
        "the job ended twice": lambda e: replace(
            e, events={JOB: [*e.events[JOB], event(4, "job.failed")]}, jobs={JOB: job(sequence=4)}
        ),
        "the end is another": lambda e: replace(e, jobs={JOB: job(status=Status.INCOMPLETE)}),
        "a stream told an event twice": lambda e: replace(e, streamed={JOB: [(1, TYPES[0]), *e.streamed[JOB]]}),
    },
    books.CREATE: {
        "a run has no row": lambda e: replace(e, upstream=[run(), run(id="v1_other")]),
        "two runs though a lost answer is final": lambda e: replace(
            e,
            upstream=[run(), run(id="v1_other")],
            interactions={JOB: [row(token="b", upstream_id=None), row(attempt=2)]},
        ),
        "an answered create was sent again": lambda e: replace(
            e, interactions={JOB: [row(token="b", upstream_id="v1_other"), row(attempt=2)]}
        ),
        "two POSTs for one attempt": lambda e: replace(
            e, interactions={JOB: [row(token="b", upstream_id=None), row()]}
        ),
        "a run nobody ordered": lambda e: replace(e, upstream=[run(), run(prompt_hash="0")]),
        "a run outlives its job": lambda e: replace(e, upstream=[run(status="in_progress")]),
        "a retried POST made a second job": lambda e: replace(e, jobs={JOB: job(), "job_2": job(id="job_2")}),
        "one key gave two jobs": lambda e: replace(e, orders=[replace(e.orders[0], replayed_ids=["job_2"])]),
    },
    books.DELIVERY: {
        "a webhook never came": lambda e: replace(e, received=[]),
        "a webhook came with a bad signature": lambda e: replace(e, received=[line(), line(verified=False)]),
        "an event came under two ids": lambda e: replace(e, received=[line(), line(webhook_id="evt_2")]),
        "a redirect was followed": lambda e: replace(e, received=[line(), line(manner="trap")]),
        "an event has two deliveries": lambda e: replace(e, deliveries={"evt_3": [delivery(), delivery(id="dlv_2")]}),
        "a webhook that came is still to be sent": lambda e: replace(
            e, deliveries={"evt_3": [delivery(status="pending", due_at=NOW + timedelta(hours=1))]}
        ),
    },
    books.RESULT: {
        "the job shows another text": lambda e: replace(e, shown={JOB: {"output_text": "Nothing."}}),
        "the webhook told another text": lambda e: replace(e, received=[line(output_text="Nothing.")]),
        "the upstream told nothing": lambda e: replace(e, bodies={RUN: body("")}, shown={JOB: {"output_text": None}}),
    },
    books.STUCK: {
        "an ended job is claimed": lambda e: replace(e, jobs={JOB: job(claim="a")}),
        "a delivery is claimed": lambda e: replace(e, deliveries={"evt_3": [delivery(claim="a")]}),
        "messages are left": lambda e: replace(e, backlog={"start": 9}),
    },
    books.ENDING: {
        "a job failed for no reason": lambda e: replace(
            e, jobs={JOB: job(status=Status.FAILED, error={"code": "upstream_failed"})}
        ),
        "a job was given up though its answer came": lambda e: replace(
            e, jobs={JOB: job(status=Status.FAILED, error={"code": "create_unconfirmed"})}
        ),
        "a job was cancelled by nobody": lambda e: replace(e, jobs={JOB: job(status=Status.CANCELLED)}),
    },
    books.HTTP: {
        "the API broke": lambda e: replace(e, heard=[Heard(0.0, "POST /v1/jobs", 500, "internal_error")]),
        "a client was not served": lambda e: replace(e, faults=["order 1 was not accepted"]),
    },
}


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind, cases in BROKEN.items() for what in cases])
def test_whatever_is_wrong_is_noticed(evidence: Evidence, kind: str, what: str) -> None:
    broken = BROKEN[kind][what](evidence)

    found = check(broken, Terms(errors=frozenset({"create_unconfirmed"})))

    assert kind in {violation.kind for violation in found}
