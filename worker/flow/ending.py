"""Ending: what an ended interaction means for its job, decided and written in the caller's transaction."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlmodel import Session

from worker.flow import chain, turns
from worker.flow.cancel import DEADLINE
from worker.flow.end import end, failure
from worker.gemini.resource import is_id
from worker.gemini.result import Outcome, classify_failure
from worker.models import Job
from worker.retry import AGAIN
from worker.states import Status
from worker.store import jobs, moves, results

MAX_TURNS = 100
"""An upstream that never stops asking for a continuation must not run for ever."""

NO_CALLS = "the upstream asks for an action and names no call: go on with previous_job_id"

RUNNING = {Status.IN_PROGRESS, Status.CANCELLING}
AS_IT_IS = {
    "completed": Status.COMPLETED,
    "incomplete": Status.INCOMPLETE,
    "budget_exceeded": Status.BUDGET_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A job, what its interaction gave, and the claim to record it under."""

    job: Job
    claim: str
    outcome: Outcome
    now: datetime
    shown: dict[str, Any] = field(default_factory=dict)
    spent: dict[str, Any] | None = None
    """What the job has used with this interaction and those before it."""

    @property
    def expires_at(self) -> datetime:
        """When its result is forgotten."""
        return self.now + timedelta(days=self.job.retention_days)

    @property
    def environment_id(self) -> str | None:
        """Where the run worked; what could not be named again is as good as nothing."""
        named = self.outcome.environment_id
        return named if is_id(named) else self.job.environment_id


def decide(session: Session, ending: Ending) -> list[Job]:
    """Move the job and keep its result; gives back who moved, the job first; nobody: a lost race."""
    outcome, job = ending.outcome, ending.job
    if outcome.status == "requires_action":
        return _require_action(session, ending)
    if outcome.status == "requires_continuation" and job.status == Status.IN_PROGRESS:
        # What was made elsewhere has no create of ours that could be gone on with.
        may_go_on = job.turn < MAX_TURNS and not job.is_adopted
        return _continue(session, ending) if may_go_on else _finish(session, ending, Status.INCOMPLETE, {})
    if outcome.status == "failed":
        return _failed(session, ending)
    if outcome.status in AS_IT_IS:
        target = AS_IT_IS[outcome.status]
        if target == Status.COMPLETED and not outcome.has_output:
            target = Status.INCOMPLETE
        return _finish(session, ending, target, {})
    # Cancelled upstream, or owing a turn that a cancelled job will not take.
    return stopped(session, job.id, claim=ending.claim, now=ending.now, ending=ending)


def _finish(session: Session, ending: Ending, target: Status, values: dict[str, Any]) -> list[Job]:
    job = ending.job
    moved = end(
        session,
        job.id,
        sources=RUNNING,
        target=target,
        now=ending.now,
        claim=ending.claim,
        values={**_seen(ending), **values},
        outcome=ending.shown,
        result_expires_at=ending.expires_at,
    )
    if moved:
        _keep(session, ending)
    return moved


def _keep(session: Session, ending: Ending) -> None:
    results.add(
        session,
        ending.job.id,
        ending.job.turn,
        outcome=ending.shown,
        raw=orjson.dumps(ending.outcome.raw),
        now=ending.now,
        expires_at=ending.expires_at,
    )


def _seen(ending: Ending) -> dict[str, Any]:
    return {
        "upstream_status": ending.outcome.status,
        "polls": ending.job.polls + 1,
        "last_polled_at": ending.now,
        "usage": ending.spent,
        "environment_id": ending.environment_id,
        "notes": [*ending.job.notes, *ending.outcome.notes],
    }


def _require_action(session: Session, ending: Ending) -> list[Job]:
    job = ending.job
    if job.status != Status.IN_PROGRESS:
        return stopped(session, job.id, claim=ending.claim, now=ending.now, ending=ending)
    if not ending.outcome.function_calls:
        # Nobody could answer, so that it would wait for nothing till it expires.
        return _finish(session, ending, Status.INCOMPLETE, {"notes": [*_seen(ending)["notes"], NO_CALLS]})
    calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in ending.outcome.function_calls]
    deadline = ending.now + timedelta(seconds=job.action_timeout_seconds)
    values = {
        **_seen(ending),
        "required_action": {"type": "function_calls", "function_calls": calls},
        "claim": None,
        "due_at": None,
        "deadline_at": deadline,
    }
    moved = moves.move(
        session,
        job.id,
        sources={Status.IN_PROGRESS},
        target=Status.REQUIRES_ACTION,
        now=ending.now,
        claim=ending.claim,
        values=values,
        outcome=ending.shown,
    )
    if moved is not None:
        _keep(session, ending)
    return [moved] if moved else []


def _continue(session: Session, ending: Ending) -> list[Job]:
    """The upstream stopped at a limit of one request: the next turn goes on where it stopped (`upstream.md` 3.2)."""
    job, environment_id = ending.job, ending.environment_id
    body = orjson.loads(jobs.body(session, job.id, job.turn) or b"{}")
    token = ending.outcome.continuation_token
    following = turns.following(body, job, environment_id=environment_id, continuation_token=token)
    moved = _again(session, ending, {"turn": job.turn + 1, "attempt": 1, "environment_id": environment_id})
    if moved:
        _keep(session, ending)
        turns.write(session, moved[0], following)
    return moved


def _failed(session: Session, ending: Ending) -> list[Job]:
    job = ending.job
    if is_tried_again(job, ending.outcome):
        due_at = AGAIN.next_time(job.attempt - 1, ending.now, 0)
        return _again(session, ending, {"attempt": job.attempt + 1, "due_at": due_at})
    verdict = classify_failure(ending.outcome.errors)
    first = ending.outcome.errors[0] if ending.outcome.errors else None
    error = failure(verdict.code, verdict.message, retryable=verdict.retryable)
    if first is not None:
        error["upstream"] = {"status": None, **first}
    return _finish(session, ending, Status.FAILED, {"error": error})


def is_tried_again(job: Job, outcome: Outcome) -> bool:
    """Whether the upstream failed for a reason that passes and the job has an attempt left."""
    has_attempts = job.status == Status.IN_PROGRESS and job.attempt < job.max_attempts
    return outcome.status == "failed" and has_attempts and classify_failure(outcome.errors).retryable


def _again(session: Session, ending: Ending, values: dict[str, Any]) -> list[Job]:
    job = ending.job
    moved = moves.move(
        session,
        job.id,
        sources={Status.IN_PROGRESS},
        target=Status.QUEUED,
        now=ending.now,
        claim=ending.claim,
        values={**chain.queued(job, ending.now), "usage": ending.spent, **values},
    )
    return [moved] if moved else []


def stopped(
    session: Session,
    job_id: str,
    *,
    claim: str,
    now: datetime,
    note: str | None = None,
    ending: Ending | None = None,
) -> list[Job]:
    """End a job that was stopped: `expired` if its deadline did it, else `cancelled`; a partial result is kept."""
    job = jobs.get(session, job_id)
    if job is None:
        return []
    values: dict[str, Any] = {"notes": [*job.notes, note]} if note else {}
    target = Status.CANCELLED
    if job.cancel_cause == DEADLINE:
        target = Status.EXPIRED
        message = f"not finished within {job.timeout_seconds:g} seconds"
        values["error"] = failure("deadline_exceeded", message, retryable=True)
    if ending is not None:
        return _finish(session, ending, target, values)
    return end(session, job_id, sources=RUNNING, target=target, now=now, claim=claim, values=values)
