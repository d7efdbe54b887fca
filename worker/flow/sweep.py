"""Sweep: once a second, on one worker, whatever time alone brings: hints that are missing, expiries, retention.

Statements touch at most AT_ONCE rows. Any number of tickers may call it, none is needed for correctness of another.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from sqlmodel import Session

from worker import telemetry
from worker.app import CANCEL, DELIVER
from worker.context import Context
from worker.errors import NightdeskError
from worker.flow import chain, counting, forget, gate, receivers, remove, retention, unconfirmed, wake
from worker.flow.end import end, failure
from worker.models import Job
from worker.states import TERMINAL, Status
from worker.store import (
    claims,
    deliveries,
    gates,
    interactions,
    jobs,
    leftovers,
    moments,
    moves,
)
from worker.telemetry import count, log

AT_ONCE = 500
EVERY = timedelta(seconds=1)

CLEAR_S, CLEARED_BY = 1.0, timedelta(seconds=20)
"""How long one sweep clears what is left outside the database, and after which time another may try the same."""

FOLLOW_EVERY = timedelta(seconds=10)

STARTS = 4
"""Starts hinted by one sweep: each begins a round where none runs, and a round goes on with whatever waits."""

CANCELS = 64
"""Cancel messages that may wait at once."""


def tick(context: Context) -> bool:
    """Sweep if nobody did within the last second; whether this call did."""
    now = context.clock()
    counting.flush(context)
    with context.database.write() as session:
        # A little less than a second, so that a tick that is late does not skip one.
        if not moments.win(session, moments.SWEEP, now=now, before=now - EVERY * 0.9):
            return False
    for part in (_release, _expire, _follow, retention.watch, receivers.look, _hint, gate.probe, _clear, forget.prune):
        _guard(context, part)
    return True


def _guard(context: Context, part: Callable[[Context], None]) -> None:
    """One part's trouble must not keep the others from their work."""
    try:
        part(context)
    except NightdeskError as error:
        log.warning("sweep", part=part.__name__.strip("_"), outcome="failed", error=str(error))
        count("nightdesk_sweep_failures_total")
    except Exception as error:  # noqa: BLE001 - recorded
        telemetry.crashed("sweep", error, part=part.__name__.strip("_"))


def _release(context: Context) -> None:
    """Scheduled jobs whose time has come, starts whose claim ran out, unconfirmed creates to be decided."""
    now = context.clock()
    moved: list[Job] = []
    lost: list[tuple[str, str]] = []
    with context.database.write() as session:
        for job in claims.swept(session, now, AT_ONCE):
            if job.status == Status.SCHEDULED:
                _unpark(session, job, now)
            elif job.status == Status.STARTING:
                moved += _give_up_start(session, job, now)
            else:
                lost.append((job.id, job.claim or ""))
    wake.moved(context, moved)
    for job_id, claim in lost:
        unconfirmed.resolve(context, job_id, claim)


def _unpark(session: Session, job: Job, now: datetime) -> None:
    values = chain.queued(job, now)
    moves.move(session, job.id, sources={Status.SCHEDULED}, target=Status.QUEUED, now=now, values=values)


def _give_up_start(session: Session, job: Job, now: datetime) -> list[Job]:
    """A worker died or hangs: before its POST the job is queued again, after it the job is unconfirmed.

    An unconfirmed job keeps the claim: its owner may still bring the id. Gives back who ended.
    """
    starting, claim = {Status.STARTING}, job.claim or ""
    if job.sent_at is None:
        interactions.remove(session, claim)
        if job.cancel_requested_at is not None:
            return end(session, job.id, sources=starting, target=Status.CANCELLED, now=now, claim=claim)
    values: dict[str, Any] = {"due_at": now, "claim": None}
    target = Status.QUEUED
    if job.sent_at is not None:
        values = {"due_at": now + unconfirmed.GRACE, "deadline_at": None}
        target = Status.UNCONFIRMED
        count("nightdesk_unconfirmed_total")
    moves.move(session, job.id, sources=starting, target=target, now=now, claim=claim, values=values)
    return []


def _expire(context: Context) -> None:
    """Jobs that waited too long for a start or for an answer of their owner: nothing more is spent."""
    now = context.clock()
    moved = []
    with context.database.write() as session:
        for job in claims.expired(session, now, AT_ONCE):
            what = "started" if job.status == Status.QUEUED else "answered"
            error = failure("deadline_exceeded", f"not {what} in time", retryable=True)
            sources = {Status(job.status)}
            moved += end(session, job.id, sources=sources, target=Status.EXPIRED, now=now, values={"error": error})
    wake.moved(context, moved)


def _follow(context: Context) -> None:
    """Waiting jobs whose predecessor ended without releasing them: the rest of a long chain."""
    now = context.clock()
    with context.database.write() as session:
        if not moments.win(session, moments.FOLLOW, now=now, before=now - FOLLOW_EVERY):
            return
        moved = []
        waiting = jobs.left_waiting(session, TERMINAL, AT_ONCE)
        for job_id in {job.previous_job_id for job in waiting}:
            before = jobs.get(session, job_id or "")
            if before is None:
                orphans = [job for job in waiting if job.previous_job_id == job_id]
                moved += chain.cascade(session, orphans, "the previous job is gone", now)
            else:
                moved += chain.release(session, before, now)
    wake.moved(context, moved)


def _hint(context: Context) -> None:
    """Send the messages that the queues are short of, never more."""
    now = context.clock()
    with context.database.read() as session:
        next_poll = claims.next_poll(session)
        cancels = claims.next_cancels(session, now, CANCELS)
        is_delivery_due = deliveries.due_count(session, now, 1) > 0
        is_usage_due = interactions.is_owed(session, now)
        are_polls_shut = any(gates.is_shut(shut, now) for shut in gates.get(session, (gates.POLL,)))
    is_poll_due = next_poll is not None and next_poll <= now
    if (is_poll_due or is_usage_due) and not are_polls_shut:
        wake.polls(context)
    if cancels and not context.sender.backlog(CANCEL):
        context.sender.send([wake.cancel_hint(job_id) for job_id in cancels])
    if is_delivery_due and not context.sender.backlog(DELIVER):
        wake.batch(context, DELIVER)
    wake.starts(context, STARTS)


def _clear(context: Context) -> None:
    """Try again what is left outside the database: one at a time, for each may take its full timeout."""
    give_up = monotonic() + CLEAR_S
    while monotonic() < give_up:
        now = context.clock()
        with context.database.write() as session:
            left = leftovers.take(session, now, now + CLEARED_BY)
        if left is None:
            return
        remove.clear(context, left)
