"""Start: claim one queued job, create its interaction with exactly one POST, record what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import orjson
from sqlmodel import Session

from worker import ids
from worker.context import Context
from worker.errors import CreateLost, CreateRefused, Invalid, Unavailable, UpstreamError
from worker.flow import gate, unconfirmed, wake
from worker.flow.end import end, failure
from worker.gemini.client import CancelKind, Created
from worker.gemini.failure import BLOCKED
from worker.gemini.request import CreateRequest, build
from worker.models import Job
from worker.states import Status
from worker.store import interactions, jobs, moves
from worker.telemetry import count, log, observe, step

RECORD_FOR = timedelta(minutes=5)
"""How long the outcome of a POST is tried to be written down while the database is away."""

RECORD_EVERY_S = 2.0
"""How long such tries lie apart at most: well within the grace of an unconfirmed create."""

CHAIN, CHAIN_S = 20, 20.0
"""How far a start goes on with others: no longer than Flower can show the result of."""

ORPHAN_CANCELS = 3
STATUS_MAX = 64
WAITING = {Status.STARTING, Status.UNCONFIRMED}
"""Where the outcome of a POST is still awaited."""


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A job, the token of its POST, the body to send, and what forbids to send it, if anything does."""

    job: Job
    token: str
    body: Mapping[str, Any]
    fault: dict[str, Any] | None


def run_on(context: Context, job_id: str, following: Callable[[], str | None]) -> dict[str, str]:
    """Start a job, then whatever waits next, up to CHAIN jobs and CHAIN_S seconds; gives back each one's outcome."""
    outcomes = {job_id: run(context, job_id)}
    give_up = monotonic() + CHAIN_S
    while len(outcomes) < CHAIN and monotonic() < give_up and not context.leaving.is_set():
        waiting = following()
        if waiting is None:
            return outcomes
        outcomes[waiting] = run(context, waiting)
    wake.starts(context, 1)
    return outcomes


def run(context: Context, job_id: str) -> str:
    """Start one job; gives back the outcome in a word, as Flower and the log show it."""
    with step("job.start", job_id=job_id) as line:
        claimed = _claim(context, job_id)
        if claimed is None:
            line["outcome"] = "nothing"
            return "nothing"
        job = claimed.job
        line.update(turn=job.turn, attempt=job.attempt, request_id=job.request_id)
        line["outcome"] = outcome = _talk(context, claimed)
        return outcome


def _claim(context: Context, job_id: str) -> _Claimed | None:
    """Take the job if its gates are open and its target has room; None: nothing to do now."""
    now, token = context.clock(), ids.token()
    with context.database.write() as session:
        job = jobs.get(session, job_id)
        if job is None or job.status != Status.QUEUED:
            return None
        values, fault = _target(context, job)
        if not gate.admits(context, session, job_id, values.get("target", job.target), now):
            return None
        until = now + timedelta(seconds=context.settings.claim_start_s)
        values |= {"claim": token, "due_at": until, "sent_at": None}
        taken = moves.move(session, job_id, sources={Status.QUEUED}, target=Status.STARTING, now=now, values=values)
        if taken is None:
            return None
        interactions.add(session, taken, token, now)
        body = orjson.loads(jobs.body(session, job_id, taken.turn) or b"{}") | {taken.kind: taken.target}
        if taken.previous_job_id and taken.turn == 1:
            before = jobs.get(session, taken.previous_job_id)
            body["previous_interaction_id"] = before.interaction_id if before else None
            if body["previous_interaction_id"] is None:
                fault = failure("previous_job_failed", "the previous job is gone", retryable=False)
        return _Claimed(taken, token, body, fault)


def _target(context: Context, job: Job) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What changes because the catalog, which may be newer than the job, names another target; or why it refuses."""
    try:
        resolved = context.catalog.resolve(
            "agent" if job.kind == "agent" else "model", job.target, strict=job.strict_model
        )
    except Invalid as error:
        return {}, failure("upstream_rejected", error.faults[0].detail, retryable=False)
    if not resolved.substitutions:
        return {}, None
    noted = [*job.substitutions, *(dict(one) for one in resolved.substitutions)]
    return {"target": resolved.id, "substitutions": noted}, None


def _talk(context: Context, claimed: _Claimed) -> str:
    job, token = claimed.job, claimed.token
    request = claimed.fault or _request(claimed.body)
    if isinstance(request, dict):
        return _recorded(context, job, lambda: _ended(context, job, token, request))
    if not _mark_sent(context, job, token):
        return "late"
    try:
        created = context.gemini.create(request)
    except UpstreamError as error:
        return _recorded(context, job, _not_created(context, job, token, error))
    return _recorded(context, job, lambda: attach(context, job.id, token, created), created.upstream_id)


def _request(body: Mapping[str, Any]) -> CreateRequest | dict[str, Any]:
    try:
        return build(body)
    except Invalid:
        # What was valid at submission is not for this release; nothing was sent.
        return failure("upstream_rejected", "the request cannot be built any more", retryable=False)


def _not_created(context: Context, job: Job, token: str, error: UpstreamError) -> Callable[[], str]:
    """What is to be recorded of a POST that gave no interaction."""
    if isinstance(error, CreateLost):
        return lambda: _lost(context, job, token, error)
    # A 403 is the job's own trouble, unless the key is refused everything.
    if isinstance(error, CreateRefused) or (error.status == 403 and context.gemini.probe().key_works is False):
        return lambda: _refused(context, job, token, error)
    code = "safety_blocked" if error.code in BLOCKED else "upstream_rejected"
    told = failure(code, error.detail or str(error), retryable=False, upstream=error)
    return lambda: _ended(context, job, token, told)


def _mark_sent(context: Context, job: Job, token: str) -> bool:
    """Commit `sent_at`, if the claim outlives the POST; from here on an interaction may exist."""
    now = context.clock()
    if job.due_at is None or job.due_at < now + timedelta(seconds=context.settings.talk_start_s):
        return False
    with context.database.write() as session:
        held = moves.change(session, job.id, statuses={Status.STARTING}, claim=token, values={"sent_at": now})
        if held is None:
            return False
        interactions.mark_sent(session, token, now)
    observe("nightdesk_start_latency_seconds", (now - (job.run_at or job.created_at)).total_seconds())
    return True


def _recorded(context: Context, job: Job, record: Callable[[], str], interaction_id: str | None = None) -> str:
    """Write down what came of a POST, for minutes if need be: an id is paid for, and a refusal is worth an attempt."""
    give_up = context.clock() + RECORD_FOR
    wait_s = 0.2
    while True:
        try:
            return record()
        except Unavailable:
            if context.clock() > give_up:
                log.error("job.start", job_id=job.id, outcome="not_recorded", interaction_id=interaction_id)
                raise
        context.pause(wait_s)
        wait_s = min(wait_s * 2, RECORD_EVERY_S)


def attach(context: Context, job_id: str, token: str, created: Created) -> str:
    """Give an interaction to the job that still waits for it under `token`; otherwise it is an orphan."""
    now, upstream_id = context.clock(), created.upstream_id
    with context.database.write() as session:
        named = interactions.named(session, token, upstream_id)
        if any(other.token != token for other in named):
            return _lie(job_id, token)
        job = None
        # Recorded already: the commit was done and only its answer was lost.
        is_new = all(mine.upstream_id is None for mine in named)
        if is_new:
            job = _run(context, session, job_id, token, created)
            interactions.answered(
                session, token, upstream_id=upstream_id, status=_short(created.status), now=now, orphan=job is None
            )
        if job is not None:
            gate.passed(session, job)
        is_orphan = job is None if is_new else named[0].orphan
    if is_orphan:
        _orphan(context, job_id, upstream_id)
        return "orphan"
    wake.moved(context, [job] if job else [])
    return "started"


def _lie(job_id: str, token: str) -> str:
    """The id is known from another create: what this one made is unknown, and its claim will run out."""
    log.error("job.start", job_id=job_id, outcome="id_of_another", token=token[:8])
    return "id_of_another"


def _run(context: Context, session: Session, job_id: str, token: str, created: Created) -> Job | None:
    now, job = context.clock(), jobs.locked(session, job_id)
    if job is None:
        return None
    sent_at = job.sent_at or now
    values: dict[str, Any] = {
        "interaction_id": created.upstream_id,
        "upstream_status": _short(created.status),
        "started_at": job.started_at or sent_at,
        "claim": None,
        "polls": 0,
        "changed_at": now,
    }
    if job.cancel_requested_at is None:
        values["deadline_at"] = sent_at + timedelta(seconds=job.timeout_seconds)
        values["due_at"] = context.schedule(job.kind, job.target).next_time(0, now, context.chance())
        target = Status.IN_PROGRESS
    else:
        values |= {"due_at": now, "cancelling_since": now, "deadline_at": None}
        target = Status.CANCELLING
    return moves.move(session, job_id, sources=WAITING, target=target, now=now, claim=token, values=values)


def _short(status: str) -> str:
    """The upstream's own word, as a database takes it: nothing it says may keep a paid id from being stored."""
    return status.replace("\x00", "").encode(errors="replace").decode()[:STATUS_MAX]


def _orphan(context: Context, job_id: str, upstream_id: str) -> None:
    """Another attempt already runs, or the job has ended: nobody will use this interaction, so it is stopped."""
    count("nightdesk_orphans_total")
    for _ in range(ORPHAN_CANCELS):
        answer = context.gemini.cancel(upstream_id)
        if answer.kind in {CancelKind.ACCEPTED, CancelKind.ENDED, CancelKind.MISSING}:
            break
        context.pause(1)
    log.warning("orphan", job_id=job_id, interaction_id=upstream_id, outcome=answer.kind)


def _refused(context: Context, job: Job, token: str, error: UpstreamError) -> str:
    """Surely not accepted: the attempt is not used up, and the gate learns of it.

    An answer that comes after the claim ran out counts, too: it proves that nothing was made.
    """
    now = context.clock()
    with context.database.write() as session:
        current = jobs.locked(session, job.id)
        sent_at = _sent_at(current, token, now)
        if current is not None and current.cancel_requested_at is not None:
            moved = end(session, job.id, sources=WAITING, target=Status.CANCELLED, now=now, claim=token)
        else:
            values = {"due_at": now, "claim": None, "refusals": job.refusals + 1, "sent_at": None}
            values["deadline_at"] = job.deadline_at
            back = moves.move(
                session, job.id, sources=WAITING, target=Status.QUEUED, now=now, claim=token, values=values
            )
            moved = [back] if back else []
        interactions.remove(session, token)
        gate.refused(context, session, job.target, error, sent_at=sent_at, now=now)
    wake.moved(context, [one for one in moved if one.status != Status.QUEUED])
    return "refused" if moved else "lost_race"


def _ended(context: Context, job: Job, token: str, error: dict[str, Any]) -> str:
    """Surely not accepted, and never will be: the job fails, or is cancelled where that was asked."""
    now = context.clock()
    with context.database.write() as session:
        current = jobs.locked(session, job.id)
        sent_at = _sent_at(current, token, now)
        if current is not None and current.cancel_requested_at is not None:
            moved = end(session, job.id, sources=WAITING, target=Status.CANCELLED, now=now, claim=token)
        else:
            values = {"error": error}
            moved = end(session, job.id, sources=WAITING, target=Status.FAILED, now=now, claim=token, values=values)
        interactions.remove(session, token)
        gate.unproven(session, job.target, sent_at=sent_at, now=now)
    wake.moved(context, moved)
    return str(moved[0].status) if moved else "lost_race"


def _sent_at(current: Job | None, token: str, now: datetime) -> datetime:
    return current.sent_at or now if current is not None and current.claim == token else now


def _lost(context: Context, job: Job, token: str, error: CreateLost) -> str:
    """The answer is lost: the row says so before anything else is decided."""
    now = context.clock()
    starting, values = {Status.STARTING}, {"due_at": now, "deadline_at": None}
    with context.database.write() as session:
        moved = moves.move(
            session, job.id, sources=starting, target=Status.UNCONFIRMED, now=now, claim=token, values=values
        )
    if moved is not None:
        count("nightdesk_unconfirmed_total")
        log.warning("unconfirmed", job_id=job.id, error=str(error))
    return unconfirmed.resolve(context, job.id, token)
