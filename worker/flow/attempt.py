"""Attempts: what the outcome of one create POST means for its job, whoever brings it and however late it comes.

A paid id is never thrown away: it is attached while the job waits for it, and cancelled upstream where nobody does.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlmodel import Session

from worker.context import Context
from worker.errors import CreateLost, CreateRefused, Unavailable, UpstreamError
from worker.flow import gate, unconfirmed, usage, wake
from worker.flow.end import end, failure
from worker.gemini.answer import short
from worker.gemini.client import Created
from worker.gemini.failure import BLOCKED
from worker.models import Job
from worker.retry import REFUSED
from worker.states import Status
from worker.store import interactions, jobs, leftovers, moves, starts
from worker.store.interactions import Answered
from worker.store.moves import Step
from worker.store.starts import Sent
from worker.telemetry import count, log

T = TypeVar("T")

RECORD_FOR = timedelta(minutes=5)
"""How long the outcome of a POST is tried to be written down while the database is away."""

RECORD_EVERY_S = 1.5
"""How long such tries lie apart at most: well within the grace of an unconfirmed create."""

TOO_SOON, TOO_SOON_TRIES = "failed_precondition", 8
"""What a create is told that builds on an interaction which still runs, and how often it is tried again: for minutes.

An interaction may show as ended to who asks for it and as running to who builds on it.
"""

WAITING = {Status.STARTING, Status.UNCONFIRMED}
"""Where the outcome of a POST is still awaited."""


class Attempt(NamedTuple):
    """The interaction that the POST of a claim was answered with."""

    job_id: str
    token: str
    created: Created


def recorded(context: Context, record: Callable[[], T], **about: Any) -> T:
    """Write down what came of a POST, for minutes if need be: an id is paid for, and a refusal is worth an attempt."""
    give_up = context.clock() + RECORD_FOR
    wait_s = 0.2
    while True:
        try:
            return record()
        except Unavailable:
            if context.clock() > give_up:
                log.error("job.start", outcome="not_recorded", **about)
                raise
        context.pause(wait_s)
        wait_s = min(wait_s * 2, RECORD_EVERY_S)


def attach(context: Context, made: Sequence[Attempt]) -> dict[str, str]:
    """Give each interaction to the job that still waits for it under its token; otherwise it is an orphan.

    Gives back each job's outcome in a word.
    """
    now = context.clock()
    with context.database.write() as session:
        # Locked before anything is read: the answer to a create and the event that tells of it may bring the same id at
        # the same moment, and whoever comes second must see what the first has written.
        current = starts.sent(session, [one.job_id for one in made])
        outcomes, fresh = _sorted(session, made)
        moved = _run(context, session, [(one, current[one.job_id]) for one in fresh if one.job_id in current], now)
        running = {job.id for job in moved}
        outcomes |= {one.job_id: "started" if one.job_id in running else "orphan" for one in fresh}
        if fresh:
            asked_at = usage.first_look(now)
            interactions.answered(session, [_answered(one, one.job_id not in running, asked_at) for one in fresh], now)
            _leave(session, [one for one in fresh if one.job_id not in running], now)
        gate.passed(session, moved)
    wake.moved(context, moved)
    return outcomes


def _sorted(session: Session, made: Sequence[Attempt]) -> tuple[dict[str, str], list[Attempt]]:
    """What is known of these interactions already, and the attempts that are not recorded yet."""
    known = interactions.named(session, [one.token for one in made], [one.created.upstream_id for one in made])
    by_token = {row.token: row for row in known}
    owners = {row.upstream_id: row.token for row in known if row.upstream_id is not None}
    outcomes, fresh = {}, []
    for one in made:
        mine = by_token.get(one.token)
        if owners.setdefault(one.created.upstream_id, one.token) != one.token:
            # What this create made is unknown, and its claim will run out.
            log.error("job.start", job_id=one.job_id, outcome="id_of_another", token=one.token[:8])
            outcomes[one.job_id] = "id_of_another"
        elif mine is not None and mine.upstream_id is not None:
            # The commit was done and only its answer was lost.
            outcomes[one.job_id] = "orphan" if mine.orphan else "started"
        else:
            fresh.append(one)
    return outcomes, fresh


def _run(context: Context, session: Session, made: Sequence[tuple[Attempt, Sent]], now: datetime) -> list[Job]:
    """Move those who wait for their id; gives back who did."""
    moved = []
    for target in (Status.IN_PROGRESS, Status.CANCELLING):
        steps = [
            Step(job.id, one.token, _running(context, job, one.created, now))
            for one, job in made
            if (target == Status.CANCELLING) == (job.cancel_requested_at is not None)
        ]
        values = {"claim": None, "polls": 0, "changed_at": now}
        moved += moves.move_all(session, steps, sources=WAITING, target=target, now=now, values=values)
    return moved


def _running(context: Context, job: Sent, created: Created, now: datetime) -> dict[str, Any]:
    sent_at = job.sent_at or now
    values: dict[str, Any] = {
        "interaction_id": created.upstream_id,
        "upstream_status": short(created.status),
        "started_at": job.started_at or sent_at,
    }
    if job.cancel_requested_at is not None:
        return values | {"due_at": now, "cancelling_since": now, "deadline_at": None}
    due_at = context.schedule(job.kind, job.target).next_time(0, now, context.chance())
    return values | {"deadline_at": sent_at + timedelta(seconds=job.timeout_seconds), "due_at": due_at}


def _answered(one: Attempt, is_orphan: bool, asked_at: datetime) -> Answered:  # noqa: FBT001
    # Nobody polls an orphan, and what it used is paid for all the same.
    due_at = asked_at if is_orphan else None
    return Answered(one.token, one.created.upstream_id, short(one.created.status), is_orphan, due_at)


def _leave(session: Session, orphans: Sequence[Attempt], now: datetime) -> None:
    """Another attempt already runs, or the job has ended: nobody will use these interactions, so they are stopped."""
    leftovers.add(session, [(leftovers.ORPHAN, leftovers.ORPHAN_OF + one.created.upstream_id) for one in orphans], now)
    for one in orphans:
        count("nightdesk_orphans_total")
        log.warning("orphan", job_id=one.job_id, interaction_id=one.created.upstream_id)


def failed(context: Context, job: Job, token: str, error: UpstreamError, *, is_key_refused: bool) -> str:
    """Record a POST that gave no interaction; gives back the job's outcome in a word."""
    if isinstance(error, CreateLost):
        return _lost(context, job, token, error)
    if isinstance(error, CreateRefused) or (is_denied(error) and is_key_refused):
        return refused(context, job, token, error)
    if _is_too_soon(job, error):
        return refused(context, job, token, None)
    code = "safety_blocked" if error.code in BLOCKED else "upstream_rejected"
    return ended(context, job, token, failure(code, error.detail or str(error), retryable=False, upstream=error))


def is_denied(error: object) -> bool:
    """Whether this is a 403: the job's own trouble, unless the key is refused everything, which a probe tells."""
    return isinstance(error, UpstreamError) and error.status == 403


def _is_too_soon(job: Job, error: UpstreamError) -> bool:
    builds = job.turn > 1 or job.previous_job_id is not None or job.previous_interaction_id is not None
    return builds and (error.status, error.code) == (400, TOO_SOON) and job.refusals < TOO_SOON_TRIES


def refused(context: Context, job: Job, token: str, error: UpstreamError | None) -> str:
    """Surely not accepted, or (without an error) not the time for it: no attempt is used up, and the gate learns of it.

    An answer that comes after the claim ran out counts, too: it proves that nothing was made.
    """
    now = context.clock()
    with context.database.write() as session:
        current = jobs.locked(session, job.id)
        sent_at = _sent_at(current, token, now)
        if current is not None and current.cancel_requested_at is not None:
            moved = end(session, job.id, sources=WAITING, target=Status.CANCELLED, now=now, claim=token)
        else:
            # What is only for later is held back by no gate.
            due_at = now if error else REFUSED.next_time(job.refusals, now, context.chance())
            values = {"due_at": due_at, "claim": None, "refusals": job.refusals + 1, "sent_at": None}
            values["deadline_at"] = job.deadline_at
            back = moves.move(
                session, job.id, sources=WAITING, target=Status.QUEUED, now=now, claim=token, values=values
            )
            moved = [back] if back else []
        interactions.remove(session, token)
        if error is None:
            gate.unproven(session, job.target, sent_at=sent_at, now=now)
        else:
            gate.refused(context, session, job.target, error, sent_at=sent_at, now=now)
    wake.moved(context, [one for one in moved if one.status != Status.QUEUED])
    return "refused" if moved else "lost_race"


def ended(context: Context, job: Job, token: str, error: dict[str, Any]) -> str:
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
