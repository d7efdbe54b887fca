"""Evidence made up for the proofs of books and bars: one job as it should be, and its parts to be changed."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from tests.chaos.client import Heard
from tests.chaos.evidence import Evidence
from tests.chaos.orders import Order
from worker.dev.simulator.prompt import prompt_hash
from worker.models import Delivery, Event, Interaction, Job
from worker.states import Status

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROMPT, TEXT = "Case 1: say what you know of it.", "All that is known."
JOB, RUN, HOOK = "job_1", "v1_run", "http://127.0.0.1:1/default/well"
DIGEST = sha256(b"{}").hexdigest()
SOURCE = "https://example.com/known"
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


def event(sequence: int, kind: str, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": f"evt_{sequence}",
        "project_id": "prj_1",
        "job_id": JOB,
        "sequence": sequence,
        "type": kind,
        "created_at": NOW,
        "data": {},
        "payload": b"{}" if sequence == 3 else None,
    }
    return Event(**fields | changes)


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
    seen = {"webhook_id": "evt_3", "verified": True, "tenant": "default", "manner": "well", "digest": DIGEST}
    return seen | told | changes


def body(text: str) -> dict[str, Any]:
    cited = [{"type": "url_citation", "url": SOURCE}]
    return {"steps": [{"type": "model_output", "content": [{"type": "text", "text": text, "annotations": cited}]}]}


def good() -> Evidence:
    """One job that went as it should."""
    order = Order("key", [{"input": PROMPT, "webhook_url": HOOK}], job_ids=[JOB])
    return Evidence(
        orders=[order],
        heard=[Heard(0.0, "POST /v1/jobs", 202, "")],
        faults=[],
        diary=[],
        recoveries=[],
        now=NOW + timedelta(minutes=1),
        jobs={JOB: job()},
        events={JOB: [event(place, kind) for place, kind in enumerate(TYPES, 1)]},
        deliveries={"evt_3": [delivery()]},
        interactions={JOB: [row()]},
        shown={JOB: {"output_text": TEXT, "citations": [{"url": SOURCE}]}},
        upstream=[run()],
        asked={prompt_hash(PROMPT): 1},
        spoiled=0,
        bodies={RUN: body(TEXT)},
        received=[line()],
        streamed={JOB: list(enumerate(TYPES, 1))},
        backlog={"start": 0},
        longest={"start": 16},
    )
