"""End: the move to a terminal status with all that belongs to it, in one transaction."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlmodel import Session

from worker.errors import UpstreamError
from worker.flow import chain
from worker.models import Job
from worker.states import Status
from worker.store import moves
from worker.telemetry import count


def end(
    session: Session,
    job_id: str,
    *,
    sources: Collection[Status],
    target: Status,
    now: datetime,
    claim: str | None = None,
    values: dict[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
    result_expires_at: datetime | None = None,
) -> list[Job]:
    """End a job and release those that wait for it; gives back who moved, the job first; nobody: a lost race."""
    job = moves.move(
        session,
        job_id,
        sources=sources,
        target=target,
        now=now,
        claim=claim,
        values=values,
        outcome=outcome,
        result_expires_at=result_expires_at,
    )
    if job is None:
        count("nightdesk_lost_races_total", move=target)
        return []
    count("nightdesk_ended_total", status=target)
    return [job, *chain.release(session, job, now)]


def failure(code: str, message: str, *, retryable: bool, upstream: UpstreamError | None = None) -> dict[str, Any]:
    """The contract's error object; NUL is left out, because PostgreSQL refuses it."""
    told = None
    if upstream is not None:
        told = {"status": upstream.status, "code": upstream.code, "message": _clean(upstream.detail or str(upstream))}
    return {"code": code, "message": _clean(message), "retryable": retryable, "upstream": told}


def _clean(text: str) -> str:
    return text.replace("\x00", "")[:2000]
