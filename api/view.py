"""Jobs as answers: read with their output, rendered, and tagged so that any change of what is shown changes the tag."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from fastapi import Request, Response
from sqlmodel import Session

from api import headers
from worker import document
from worker.errors import Gone, NotFound
from worker.models import Job
from worker.states import EVENTS, SETTLED, TERMINAL, Status
from worker.store import events, interactions, jobs, results

JSON = "application/json"
REVALIDATE = "private, no-cache"
STEPS, INPUT, TURNS = "steps", "input", "turns"


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as it was read: with its output, if there is one and its retention is not over."""

    job: Job
    outcome: dict[str, Any] | None
    expires_at: datetime | None
    is_past_retention: bool

    @property
    def is_settled(self) -> bool:
        """Whether nothing happens until its owner acts, if ever."""
        return self.job.status in SETTLED


def load(session: Session, job_id: str, project_id: str, now: datetime) -> Seen:
    """The job and its output; raises NotFound."""
    job = jobs.get(session, job_id, project_id)
    if job is None:
        raise NotFound("no such job")
    found = results.outcome(session, job.id, job.turn) if job.status in SETTLED else None
    outcome, expires_at = found or (None, None)
    ends_at = expires_at or (job.finished_at and job.finished_at + timedelta(days=job.retention_days))
    is_past = job.status in TERMINAL and ends_at is not None and ends_at <= now
    return Seen(job, None if is_past else outcome, expires_at, is_past)


def render(seen: Seen) -> dict[str, Any]:
    """The contract's job object; one that ended without completing also says where to try again, if it can be."""
    shown = document.render(seen.job, seen.outcome, seen.expires_at)
    if seen.job.status in TERMINAL and seen.job.status != Status.COMPLETED and not seen.job.is_adopted:
        shown["links"]["retry"] = f"{shown['links']['self']}/retry"
    return shown


def heavy(session: Session, seen: Seen, parts: Collection[str]) -> dict[str, Any]:
    """The parts shown only when asked for; raises Gone where the steps are past their retention."""
    found: dict[str, Any] = {}
    if STEPS in parts:
        if seen.is_past_retention:
            raise Gone("the steps are past their retention")
        raw = results.raw(session, seen.job.id, seen.job.turn)
        found[STEPS] = (orjson.loads(raw).get(STEPS) or []) if raw else []
    if INPUT in parts:
        body = jobs.body(session, seen.job.id, 1)
        found[INPUT] = orjson.loads(body).get(INPUT) if body else None
    if TURNS in parts:
        found[TURNS] = _turns(session, seen.job.id)
    return found


def _turns(session: Session, job_id: str) -> list[dict[str, Any]]:
    asked = {told["turn"]: told for told in events.data(session, job_id, EVENTS[Status.REQUIRES_ACTION])}
    return [
        {
            "turn": row.turn,
            "attempt": row.attempt,
            "interaction_id": row.upstream_id,
            "status": row.status,
            "sent_at": document.stamp(row.sent_at),
            "usage": row.usage,
            "function_calls": _calls(asked.get(row.turn)) if row.status == Status.REQUIRES_ACTION else [],
        }
        for row in interactions.of_job(session, job_id)
    ]


def _calls(told: dict[str, Any] | None) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = ((told or {}).get("required_action") or {}).get("function_calls") or []
    return calls


def listed(job: Job, expires_at: datetime | None = None) -> dict[str, Any]:
    """A job in a list: without its output."""
    return render(Seen(job, None, expires_at, is_past_retention=False))


def page(items: list[dict[str, Any]], next_cursor: str | None) -> dict[str, Any]:
    """A page of a list."""
    return {"object": "list", "data": items, "has_more": next_cursor is not None, "next_cursor": next_cursor}


def answer(content: Any, status: int = 200, extra: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return Response(body, status_code=status, headers=dict(extra or {}), media_type=JSON)


def tagged(request: Request, body: bytes) -> Response:
    """A JSON answer with an entity tag of its bytes, or 304 where the client has them already."""
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    extra = {"ETag": etag, "Cache-Control": REVALIDATE}
    if headers.matches(request, etag):
        return Response(status_code=304, headers=extra)
    return answer(body, extra=extra)
