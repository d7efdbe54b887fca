"""Unconfirmed creates: the POST was sent and its answer is lost. What to do is the owner's choice, never a guess."""

from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from worker.context import Context
from worker.flow import chain, wake
from worker.flow.end import end, failure
from worker.gemini.name import Name, webhook_config
from worker.models import Job
from worker.states import Status
from worker.store import jobs, moves

MAY_RUN = "a run may be alive and billed upstream: the create was sent and its answer was lost"

GRACE = timedelta(seconds=5)
"""How long a claim that ran out waits for the id that its owner may yet bring: a record is retried more often."""


def named(context: Context, job: Job, token: str) -> dict[str, Any]:
    """What a create carries so that the upstream's own event finds its job, should the answer be lost."""
    settings = context.settings
    if settings.gemini_webhooks != "dynamic":
        return {}
    name = Name(job.id, token)
    return {"webhook_config": webhook_config(settings.upstream_events_url, name, f"{job.turn}.{job.attempt}")}


def resolve(context: Context, job_id: str, claim: str) -> str:
    """Cancel, try again, wait for an upstream event, or fail; gives back the outcome in a word."""
    now = context.clock()
    with context.database.write() as session:
        job = jobs.locked(session, job_id)
        if job is None or job.status != Status.UNCONFIRMED or job.claim != claim:
            return "lost_race"
        outcome, moved = _decide(context, session, job, now)
    wake.moved(context, moved)
    return outcome


def _decide(context: Context, session: Session, job: Job, now: datetime) -> tuple[str, list[Job]]:
    if job.cancel_requested_at is not None:
        return Status.CANCELLED, _end(session, job, Status.CANCELLED, now, {"notes": [*job.notes, MAY_RUN]})
    if job.on_unknown_create == "retry" and job.attempt < _most_attempts(job):
        return Status.QUEUED, _again(session, job, now)
    if context.settings.gemini_webhooks == "dynamic" and _waits_on(session, job, now):
        return "waiting", []
    error = failure("create_unconfirmed", MAY_RUN, retryable=True)
    return Status.FAILED, _end(session, job, Status.FAILED, now, {"error": error})


def _most_attempts(job: Job) -> int:
    """An agent whose owner wrote `retry` out has a second attempt, whatever `max_attempts` says."""
    return max(job.max_attempts, 2) if job.kind == "agent" else job.max_attempts


def _end(session: Session, job: Job, target: Status, now: datetime, values: dict[str, object]) -> list[Job]:
    return end(session, job.id, sources={Status.UNCONFIRMED}, target=target, now=now, claim=job.claim, values=values)


def _again(session: Session, job: Job, now: datetime) -> list[Job]:
    values = {**chain.queued(job, now), "attempt": job.attempt + 1}
    unconfirmed = {Status.UNCONFIRMED}
    moved = moves.move(
        session, job.id, sources=unconfirmed, target=Status.QUEUED, now=now, claim=job.claim, values=values
    )
    return [moved] if moved else []


def _waits_on(session: Session, job: Job, now: datetime) -> bool:
    """Whether the upstream's own event may yet name the interaction: until the job's run time is over."""
    deadline = (job.sent_at or now) + timedelta(seconds=job.timeout_seconds)
    if deadline <= now:
        return False
    values = {"due_at": deadline, "deadline_at": deadline}
    moves.change(session, job.id, statuses={Status.UNCONFIRMED}, claim=job.claim, values=values)
    return True
