"""Cancel: what the owner asks for, and telling the upstream so."""

from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from worker import ids
from worker.context import Context
from worker.errors import Conflict, NotFound
from worker.flow import unconfirmed, wake
from worker.flow.end import end
from worker.gemini.client import CancelKind
from worker.models import Job
from worker.retry import UNREACHABLE
from worker.states import TERMINAL, Status
from worker.store import audit, claims, jobs, moves
from worker.store.audit import Actor
from worker.telemetry import step

NOT_SENT = {Status.SCHEDULED, Status.QUEUED, Status.REQUIRES_ACTION}
OWNER, DEADLINE = "owner", "deadline"
LOOK_AFTER = timedelta(seconds=1)
ANSWERED = {CancelKind.ACCEPTED, CancelKind.ENDED, CancelKind.MISSING}
"""Answers after which asking again would change nothing."""

TRIES = 5
"""How often a request meets a job that moves under it before the caller is told to try again."""


def request(context: Context, project_id: str, job_id: str, by: Actor | None = None) -> Job:
    """Cancel a job for its owner: at once where nothing was sent, else as soon as the upstream allows.

    Raises NotFound, and Conflict where it ended otherwise.
    """
    for _ in range(TRIES):
        now = context.clock()
        with context.database.write() as session:
            job = jobs.get(session, job_id, project_id)
            if job is None:
                raise NotFound("no such job")
            if job.status in TERMINAL and job.status != Status.CANCELLED:
                raise Conflict(f"the job is {job.status}")
            if job.status == Status.CANCELLED:
                return job
            moved = _cancel(session, job, now)
            if moved:
                audit.note(session, by, audit.CANCELLED, project_id=project_id, subject=job_id, now=now)
        if moved:
            wake.moved(context, moved)
            return moved[0]
    raise Conflict("the job is changing; try again")


def _cancel(session: Session, job: Job, now: datetime) -> list[Job]:
    asked: dict[str, Any] = {"cancel_requested_at": job.cancel_requested_at or now, "cancel_cause": OWNER}
    if job.status in NOT_SENT:
        return end(session, job.id, sources={Status(job.status)}, target=Status.CANCELLED, now=now, values=asked)
    if job.status == Status.IN_PROGRESS:
        changed = to_cancelling(session, job.id, now, asked)
    else:
        if job.status == Status.UNCONFIRMED:
            # It may wait for hours for an event that names its interaction.
            asked["due_at"] = min(job.due_at or now, now + unconfirmed.GRACE)
        changed = moves.change(session, job.id, statuses={Status(job.status)}, values=asked)
    return [changed] if changed else []


def to_cancelling(
    session: Session, job_id: str, now: datetime, values: dict[str, Any], claim: str | None = None
) -> Job | None:
    """Stop a running job; the claim of whoever polls it just now is void from here on. None: it runs no more."""
    stopping = {"due_at": now, "claim": None, "cancelling_since": now, "deadline_at": None}
    return moves.move(
        session,
        job_id,
        sources={Status.IN_PROGRESS},
        target=Status.CANCELLING,
        now=now,
        claim=claim,
        values={**stopping, **values},
    )


def run(context: Context, job_id: str) -> str:
    """Tell the upstream to cancel one job's interaction; gives back the outcome in a word."""
    with step("job.cancel", job_id=job_id) as line:
        now, claim = context.clock(), ids.token()
        until = now + timedelta(seconds=context.settings.claim_cancel_s)
        with context.database.write() as session:
            job = claims.cancel(session, job_id, claim=claim, now=now, until=until)
        if job is None or job.interaction_id is None:
            line["outcome"] = "nothing"
            return "nothing"
        line.update(turn=job.turn, attempt=job.attempt, request_id=job.request_id)
        answer = context.gemini.cancel(job.interaction_id)
        line.update(outcome=answer.kind, http_status=answer.http_status)
        _record(context, job, claim, answer.kind)
        return str(answer.kind)


def _record(context: Context, job: Job, claim: str, kind: CancelKind) -> None:
    """Whatever was answered, the next look tells how the run stands, and whether the cancel must be sent again."""
    now = context.clock()
    values: dict[str, Any] = {
        "cancel_answer": kind,
        "cancel_answered_at": now,
        "due_at": now + LOOK_AFTER,
        "polls": 0,
        "claim": None,
    }
    with context.database.write() as session:
        moves.change(session, job.id, statuses={Status.CANCELLING}, claim=claim, values=values)


def again(context: Context, session: Session, job_id: str, claim: str, now: datetime) -> None:
    """Send the cancel of a job once more, a while from now."""
    values = {"cancel_answered_at": None, "due_at": UNREACHABLE.next_time(0, now, context.chance()), "claim": None}
    moves.change(session, job_id, statuses={Status.CANCELLING}, claim=claim, values=values)
