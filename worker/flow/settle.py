"""Settle: what an ended interaction means for its job. Media first, then one transaction with everything else."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlmodel import Session

from worker.context import Context
from worker.errors import ArtifactStoreError, ResultTooLarge
from worker.flow import chain
from worker.flow.cancel import DEADLINE
from worker.flow.end import end, failure
from worker.gemini.answer import Answer, AnswerKind
from worker.gemini.request import wants_json
from worker.gemini.result import Outcome, UnreadableBodyError, classify_failure, read_outcome
from worker.models import Job, JobInput
from worker.retry import AGAIN, SETTLE
from worker.states import Status
from worker.store import interactions, jobs, moves, results
from worker.store.claims import Polled
from worker.telemetry import count, step

MAX_TURNS = 100
"""An upstream that never stops asking for a continuation must not run for ever."""

MAX_CRASHES = 20
"""With the backoff of SETTLE: how often, for about an hour, a result is tried that something unforeseen rejects."""

RUNNING = {Status.IN_PROGRESS, Status.CANCELLING}
AS_IT_IS = {
    "completed": Status.COMPLETED,
    "incomplete": Status.INCOMPLETE,
    "budget_exceeded": Status.BUDGET_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class _Ending:
    """A job, what its interaction gave, and the claim to record it under."""

    job: Job
    claim: str
    outcome: Outcome
    now: datetime
    shown: dict[str, Any] = field(default_factory=dict)

    @property
    def expires_at(self) -> datetime:
        return self.now + timedelta(days=self.job.retention_days)


def settle(context: Context, row: Polled, claim: str, answer: Answer) -> list[Job]:
    """Settle one job whose interaction has ended; gives back who moved (nobody: a lost race, or to be tried again)."""
    with step("job.settle", job_id=row.id, attempt=row.attempt, upstream_status=answer.status) as line:
        with context.database.read() as session:
            job = jobs.get(session, row.id)
            body = jobs.body(session, row.id, job.turn) if job else None
        if job is None or job.claim != claim:
            # Whoever has it now may be at another turn, whose media ours must not replace.
            line["outcome"] = "lost_race"
            return []
        line.update(turn=job.turn, request_id=job.request_id)
        try:
            moved = _settle(context, job, claim, answer, wants_json(orjson.loads(body or b"{}")))
        except ArtifactStoreError as error:
            line.update(outcome="artifacts_unavailable", error=str(error))
            return _later(context, row, claim)
        except (ResultTooLarge, UnreadableBodyError) as error:
            moved = _fail(context, job, claim, error)
        line["outcome"] = moved[0].status if moved else "lost_race"
        return moved


def _settle(context: Context, job: Job, claim: str, answer: Answer, asked_json: bool) -> list[Job]:  # noqa: FBT001
    if answer.kind is AnswerKind.TOO_LARGE or answer.body is None:
        raise ResultTooLarge("the interaction's body is over the limit")
    outcome = read_outcome(answer.body, max_bytes=context.settings.max_result_bytes, wants_json=asked_json)
    # What another attempt replaces is not kept: nothing would name its media any more.
    shown = {} if _is_tried_again(job, outcome) else _store_media(context, job, outcome)
    ending = _Ending(job, claim, outcome, context.clock(), shown)
    with context.database.write() as session:
        moved = _decide(session, ending)
        if moved:
            interactions.ended(session, job.interaction_id or "", outcome.status, outcome.usage)
    return moved


def _store_media(context: Context, job: Job, outcome: Outcome) -> dict[str, Any]:
    """Put the media into the artifact store, repeatably, and describe the output as its owner sees it."""
    folder = f"{job.id}/{job.turn}.{job.attempt}"
    for media in outcome.media:
        context.artifacts.put(f"{folder}/{media.n}", media.data)
    return {
        "output_text": outcome.output_text,
        "output_json": outcome.output_json,
        "citations": [asdict(citation) for citation in outcome.citations],
        "artifacts": [
            {
                "id": media.n,
                "kind": media.kind,
                "mime_type": media.mime_type,
                "size": len(media.data),
                "url": f"/v1/jobs/{job.id}/artifacts/{media.n}",
            }
            for media in outcome.media
        ],
        "folder": folder,
    }


def _decide(session: Session, ending: _Ending) -> list[Job]:
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


def _finish(session: Session, ending: _Ending, target: Status, values: dict[str, Any]) -> list[Job]:
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


def _keep(session: Session, ending: _Ending) -> None:
    results.add(
        session,
        ending.job.id,
        ending.job.turn,
        outcome=ending.shown,
        raw=orjson.dumps(ending.outcome.raw),
        now=ending.now,
        expires_at=ending.expires_at,
    )


def _seen(ending: _Ending) -> dict[str, Any]:
    return {
        "upstream_status": ending.outcome.status,
        "polls": ending.job.polls + 1,
        "last_polled_at": ending.now,
        "usage": total(ending.job.usage, ending.outcome.usage),
        "notes": [*ending.job.notes, *ending.outcome.notes],
    }


def total(before: dict[str, Any] | None, now: dict[str, Any] | None) -> dict[str, Any] | None:
    """Usage of several turns together: numbers are added up, anything else is the latest."""
    if not before or not now:
        return now or before
    summed = {
        name: value + before[name]
        for name, value in now.items()
        if isinstance(value, int | float) and isinstance(before.get(name), int | float)
    }
    return {**before, **now, **summed}


def _require_action(session: Session, ending: _Ending) -> list[Job]:
    job = ending.job
    if job.status != Status.IN_PROGRESS:
        return stopped(session, job.id, claim=ending.claim, now=ending.now, ending=ending)
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


def _continue(session: Session, ending: _Ending) -> list[Job]:
    """The upstream stopped at a limit of one request: the next turn goes on where it stopped (`upstream.md` 3.2)."""
    job = ending.job
    moved = _again(session, ending, {"turn": job.turn + 1, "attempt": 1})
    if moved:
        _keep(session, ending)
        first = orjson.loads(jobs.body(session, job.id, job.turn) or b"{}")
        body = {name: value for name, value in first.items() if name not in ("input", "extra_body")}
        extra = first.get("extra_body") or {}
        body["extra_body"] = {name: value for name, value in extra.items() if name != "continuation_token"}
        body |= {
            "previous_interaction_id": job.interaction_id,
            "continuation_token": ending.outcome.continuation_token,
        }
        session.add(JobInput(job_id=job.id, turn=job.turn + 1, body=orjson.dumps(body)))
        session.flush()
    return moved


def _failed(session: Session, ending: _Ending) -> list[Job]:
    job = ending.job
    if _is_tried_again(job, ending.outcome):
        due_at = AGAIN.next_time(job.attempt - 1, ending.now, 0)
        return _again(session, ending, {"attempt": job.attempt + 1, "due_at": due_at})
    verdict = classify_failure(ending.outcome.errors)
    first = ending.outcome.errors[0] if ending.outcome.errors else None
    error = failure(verdict.code, verdict.message, retryable=verdict.retryable)
    if first is not None:
        error["upstream"] = {"status": None, **first}
    return _finish(session, ending, Status.FAILED, {"error": error})


def _is_tried_again(job: Job, outcome: Outcome) -> bool:
    """Whether the upstream failed for a reason that passes and the job has an attempt left."""
    has_attempts = job.status == Status.IN_PROGRESS and job.attempt < job.max_attempts
    return outcome.status == "failed" and has_attempts and classify_failure(outcome.errors).retryable


def _again(session: Session, ending: _Ending, values: dict[str, Any]) -> list[Job]:
    job = ending.job
    moved = moves.move(
        session,
        job.id,
        sources={Status.IN_PROGRESS},
        target=Status.QUEUED,
        now=ending.now,
        claim=ending.claim,
        values={**chain.queued(job, ending.now), "usage": total(job.usage, ending.outcome.usage), **values},
    )
    return [moved] if moved else []


def stopped(
    session: Session,
    job_id: str,
    *,
    claim: str,
    now: datetime,
    note: str | None = None,
    ending: _Ending | None = None,
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


def _fail(context: Context, job: Job, claim: str, error: Exception) -> list[Job]:
    now = context.clock()
    code = "result_too_large" if isinstance(error, ResultTooLarge) else "upstream_failed"
    told = failure(code, str(error), retryable=False)
    with context.database.write() as session:
        return end(session, job.id, sources=RUNNING, target=Status.FAILED, now=now, claim=claim, values={"error": told})


def crashed(context: Context, row: Polled, claim: str) -> list[Job]:
    """Something unforeseen rejects this result: it is tried again, and fails its job in the end."""
    if row.settle_tries < MAX_CRASHES:
        return _later(context, row, claim)
    told = failure("worker_lost", "the result could not be stored", retryable=True)
    with context.database.write() as session:
        values = {"error": told}
        return end(
            session, row.id, sources=RUNNING, target=Status.FAILED, now=context.clock(), claim=claim, values=values
        )


def _later(context: Context, row: Polled, claim: str) -> list[Job]:
    """The result was seen and could not be stored: no deadline applies to it any more."""
    now = context.clock()
    values = {
        "ended_seen": True,
        "settle_tries": row.settle_tries + 1,
        "due_at": SETTLE.next_time(row.settle_tries, now, context.chance()),
        "claim": None,
    }
    with context.database.write() as session:
        moves.change(session, row.id, statuses=RUNNING, claim=claim, values=values)
    count("nightdesk_settle_retries_total")
    return []
