"""Submit: a group of orders is written in one transaction, each of them whole or not at all."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session

from worker.context import Context
from worker.errors import (
    Conflict,
    Fault,
    Gone,
    IdempotencyReused,
    Invalid,
    NightdeskError,
    QuotaExceeded,
)
from worker.flow import limits, owned, predecessor, retention, wake
from worker.flow.backlog import Backlog
from worker.flow.draft import Draft
from worker.flow.predecessor import Ground
from worker.flow.quota import QUEUE_FULL_RETRY_S, Quota
from worker.models import Idempotency, Job
from worker.states import TERMINAL, Status
from worker.store import audit, jobs, submissions
from worker.store.audit import Actor, Deed
from worker.telemetry import count

ONCE = ""
"""The key of what is done once, whatever keys its callers use: theirs have a character at least."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one request submits: all of it or nothing."""

    project_id: str
    drafts: Sequence[Draft]
    path: str
    key: str | None = None
    digest: str = ""
    is_once: bool = False
    """Of all such orders of this path one is taken, whatever their keys."""
    by: Actor | None = None
    action: str = audit.SUBMITTED


@dataclass(frozen=True, slots=True)
class Accepted:
    """The jobs of an order, in its order; `replayed` where its idempotency key had them already."""

    jobs: list[Job]
    replayed: bool = False


@dataclass(slots=True)
class _Group:
    """What one transaction writes."""

    now: datetime
    room: int
    waiting: int
    quota: Quota
    before: dict[str, Job]
    holders: dict[str, str]
    ground: Ground
    new: list[tuple[Job, bytes]] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    taken: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How many jobs of each project."""

    fresh: dict[tuple[str, str, str], tuple[str, Accepted]] = field(default_factory=dict)


def accept(
    context: Context, orders: Sequence[Order], backlog: Backlog | None = None, quota: Quota | None = None
) -> list[Accepted | NightdeskError]:
    """Write a group of orders in one transaction, then hint their starts; one outcome for each order."""
    backlog, quota = backlog or Backlog(), quota or Quota(limits.usual(context.settings))
    now = context.clock()
    room = wake.room(context)
    outcomes: dict[int, Accepted | NightdeskError] = {}
    # In one order: two groups that race for the same keys must not wait for each other.
    ranks = sorted(range(len(orders)), key=lambda rank: (orders[rank].path, orders[rank].key or ""))
    with context.database.write() as session:
        before, busy = submissions.previous(session, _predecessors(orders))
        holders = owned.owners(session, [one for order in orders for draft in order.drafts for one in draft.references])
        group = _Group(
            now=now,
            room=room,
            waiting=backlog.count(session),
            quota=quota,
            before=before,
            holders=holders,
            ground=Ground(context.catalog, retention.of(context), now),
        )
        for rank in ranks:
            outcomes[rank] = _take(context, session, orders[rank], group)
        if group.new:
            submissions.insert(session, group.new, now)
            audit.note_all(session, group.deeds, now)
    backlog.add(len(group.new))
    for project_id, taken in group.taken.items():
        quota.add(project_id, taken)
    wake.send_starts(context, [job for job, _ in group.new if _was_hinted(job, now)])
    wake.deliveries(context, [job for job, _ in group.new])
    predecessor.catch_up(context, busy & {job.previous_job_id for job, _ in group.new})
    count("nightdesk_submitted_total", len(group.new))
    return [outcomes[rank] for rank in range(len(orders))]


def _predecessors(orders: Sequence[Order]) -> set[str]:
    named = {draft.job.previous_job_id for order in orders for draft in order.drafts}
    # NUL would be an error of the database, and one of the whole group.
    return {job_id for job_id in named if job_id and "\x00" not in job_id}


def _was_hinted(job: Job, now: datetime) -> bool:
    return job.status == Status.QUEUED and job.due_at is not None and job.due_at > now


def _take(context: Context, session: Session, order: Order, group: _Group) -> Accepted | NightdeskError:
    try:
        if order.key is not None:
            known = _replay(session, order, group)
            if known:
                return known
        if group.waiting + len(order.drafts) > context.settings.max_queued:
            raise QuotaExceeded("too many jobs are waiting to be started", QUEUE_FULL_RETRY_S)
        taken = group.taken[order.project_id]
        group.quota.check(session, order.project_id, len(order.drafts), taken, group.now)
        for draft in order.drafts:
            _place(session, draft, group)
        return _noted(order, _reserve(session, order, group), group)
    except NightdeskError as error:
        return error


def _replay(session: Session, order: Order, group: _Group) -> Accepted | None:
    fresh = group.fresh.get((order.project_id, order.path, order.key or ""))
    if fresh is not None:
        return _same(order, fresh[0], fresh[1].jobs)
    return replay(session, order)


def replay(session: Session, order: Order) -> Accepted | None:
    """What the order's key holds already; None: nothing, or it has no key. Raises IdempotencyReused, Gone."""
    held = submissions.held(session, order.project_id, order.path, order.key) if order.key is not None else None
    return held_by(session, order, held) if held else None


def held_by(session: Session, order: Order, held: Idempotency) -> Accepted:
    """The outcome that a used idempotency key holds; raises IdempotencyReused, Gone."""
    return _same(order, held.digest, [jobs.get(session, job_id) for job_id in held.job_ids])


def _same(order: Order, digest: str, found: Sequence[Job | None]) -> Accepted:
    if digest != order.digest:
        raise IdempotencyReused("this Idempotency-Key was used with another body")
    present = [job for job in found if job is not None]
    if len(present) < len(found):
        raise Gone("the job of this Idempotency-Key was deleted")
    return Accepted(present, replayed=True)


def _place(session: Session, draft: Draft, group: _Group) -> None:
    """Decide where a job's life begins: waiting for its time, for its predecessor, or for a start."""
    job, now = draft.job, group.now
    may_name_unknown = draft.foreign_ids_allowed
    owned.check(draft.references, group.holders, job.project_id, may_name_unknown=may_name_unknown, at=draft.at)
    waits = job.run_at is not None and job.run_at > now
    job.due_at = job.run_at if waits else now
    fault = None
    if job.previous_job_id:
        before = group.before.get(job.previous_job_id)
        fault = predecessor.follow_job(group.ground, job, before, lacks_environment=draft.lacks_environment)
        if before is not None and before.status not in TERMINAL:
            waits, job.due_at = True, None
    elif job.previous_interaction_id:
        fault = predecessor.follow_interaction(group.ground, session, job, may_name_unknown=may_name_unknown)
    if fault is not None:
        raise Invalid(Fault(draft.at + fault.pointer, fault.detail))
    job.status = Status.SCHEDULED if waits else Status.QUEUED
    job.deadline_at = None if waits else now + timedelta(seconds=job.queue_timeout_seconds)


def _reserve(session: Session, order: Order, group: _Group) -> Accepted:
    accepted = Accepted([draft.job for draft in order.drafts])
    names = [job.id for job in accepted.jobs]
    if order.is_once:
        done = submissions.reserve(session, reservation(order, ONCE, names, group.now))
        if done is not None:
            known = _replay(session, order, group) if order.key is not None else None
            if known is None:
                raise Conflict(f"this was done already, by {', '.join(done.job_ids)}")
            return known
    if order.key is not None:
        held = submissions.reserve(session, reservation(order, order.key, names, group.now))
        if held is not None:
            if order.is_once:
                submissions.give_back(session, order.project_id, order.path, ONCE)
            return held_by(session, order, held)
        group.fresh[order.project_id, order.path, order.key] = (order.digest, accepted)
    group.waiting += len(order.drafts)
    group.taken[order.project_id] += len(order.drafts)
    for draft in order.drafts:
        if draft.job.status == Status.QUEUED and group.room > 0:
            group.room -= 1
            draft.job.due_at = group.now + wake.HINT
        group.new.append((draft.job, draft.body))
    return accepted


def _noted(order: Order, accepted: Accepted, group: _Group) -> Accepted:
    """The same, for the audit log too where it is new."""
    names = [job.id for job in accepted.jobs]
    if order.by is not None and not accepted.replayed:
        number = len(names)
        group.deeds.append(
            Deed(project_id=order.project_id, by=order.by, action=order.action, subject=names[0], number=number)
        )
    return accepted


def reservation(order: Order, key: str, job_ids: list[str], now: datetime) -> Idempotency:
    """The entry that makes these jobs the one outcome of an order's key."""
    return Idempotency(
        project_id=order.project_id,
        path=order.path,
        key=key,
        digest=order.digest,
        job_ids=job_ids,
        created_at=now,
    )
