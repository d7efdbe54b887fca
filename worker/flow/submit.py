"""Submit: validate what can be refused before anything is spent, then write a group of orders in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

import orjson
from sqlmodel import Session

from worker import ids, options
from worker.context import Context
from worker.document import PRIORITIES
from worker.errors import (
    AddressRefused,
    Conflict,
    Fault,
    Gone,
    IdempotencyReused,
    Invalid,
    NightdeskError,
    QuotaExceeded,
)
from worker.flow import owned, predecessor, retention, wake
from worker.flow.backlog import Backlog
from worker.flow.predecessor import Ground
from worker.flow.quota import Quota
from worker.gemini import agents, planning, request
from worker.gemini.catalog import Kind, Resolved
from worker.gemini.references import Reference, references_of
from worker.models import Idempotency, Job
from worker.states import TERMINAL, Status
from worker.store import audit, jobs, submissions
from worker.store.audit import Actor, Deed
from worker.telemetry import count
from worker.webhooks.address import check_url

QUEUE_FULL_RETRY_S = 60
ONCE = ""
"""The key of what is done once, whatever keys its callers use: theirs have a character at least."""

_INTERACTION = request.FIELDS | request.RESERVED


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated job, not yet written."""

    job: Job
    body: bytes
    at: str
    foreign_ids_allowed: bool
    references: tuple[Reference, ...] = ()
    lacks_environment: bool = False
    """It is to go on in the one that its predecessor leaves."""


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
    queued: int
    quota: Quota
    before: dict[str, Job]
    holders: dict[str, str]
    ground: Ground
    new: list[tuple[Job, bytes]] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    fresh: dict[tuple[str, str, str], tuple[str, Accepted]] = field(default_factory=dict)


def prepare(
    context: Context,
    fields: Mapping[str, Any],
    *,
    project_id: str,
    is_admin: bool,
    key_id: str | None = None,
    request_id: str | None = None,
    at: str = "",
    retry_of: str | None = None,
    webhook_config: dict[str, Any] | None = None,
) -> Draft:
    """Validate one job; raises Invalid with every fault, each pointer prefixed by `at`."""
    now = context.clock()
    chosen, faults = options.read(fields)
    body = {name: value for name, value in fields.items() if name not in options.NAMES}
    known = options.NAMES | _INTERACTION
    faults += [unknown_field(name, known) for name in body if name not in known]
    altered = agents.prepended(body) if chosen.prepend_system_instruction else None
    body = altered or body
    kind: Kind = "agent" if body.get("agent") is not None else "model"
    resolved = Resolved("", ())
    lacks_environment = chosen.previous_job_id is not None and predecessor.lacks_environment(body)
    try:
        request.validate(_known(body | ({"environment": "remote"} if lacks_environment else {})))
        resolved = context.catalog.resolve(kind, body[kind], strict=chosen.strict_model)
    except Invalid as error:
        faults += [fault for fault in error.faults if fault.pointer not in {told.pointer for told in faults}]
    faults += contradictions(context, chosen, body)
    if faults:
        raise Invalid(*(Fault(at + fault.pointer, fault.detail) for fault in faults))
    origin = {"project_id": project_id, "key_id": key_id, "request_id": request_id, "retry_of": retry_of}
    job = submissions.new(**_fields(context, chosen, body, kind=kind, resolved=resolved, now=now), **origin)
    job.webhook_config = webhook_config
    job.notes = [agents.PREPENDED] if altered else []
    return Draft(
        job=job,
        body=orjson.dumps(body),
        at=at,
        foreign_ids_allowed=is_admin,
        references=references_of(body, context.settings.gemini),
        lacks_environment=lacks_environment,
    )


def _known(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in _INTERACTION}


def unknown_field(name: str, known: Collection[str]) -> Fault:
    """The fault of a field that is none of those known, with the nearest name."""
    near = get_close_matches(name, known, n=1)
    hint = "send it in extra_body" if name in request.PASSED_ON else f"did you mean {near[0]}?" if near else ""
    return Fault(f"/{_escape(name)}", "; ".join(filter(None, ["unknown field", hint])))


def _escape(name: str) -> str:
    return name[:64].replace("~", "~0").replace("/", "~1")


def contradictions(context: Context, chosen: options.Options, body: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with fields that are each right by themselves."""
    faults = []
    if chosen.previous_job_id and body.get("previous_interaction_id"):
        faults.append(Fault("/previous_job_id", "not together with previous_interaction_id"))
    if chosen.webhook_events and not chosen.webhook_url:
        faults.append(Fault("/webhook_events", "needs a webhook_url"))
    if chosen.webhook_url:
        try:
            check_url(chosen.webhook_url, context.policy)
        except AddressRefused as error:
            faults.append(Fault("/webhook_url", str(error)))
    return faults


def _fields(
    context: Context, chosen: options.Options, body: Mapping[str, Any], *, kind: Kind, resolved: Resolved, now: datetime
) -> dict[str, Any]:
    job_id = ids.new("job", int(now.timestamp() * 1000))
    is_agent = kind == "agent"
    on_unknown_create = chosen.on_unknown_create or ("fail" if is_agent else "retry")
    return {
        "id": job_id,
        "status": Status.QUEUED,
        "kind": kind,
        "target": resolved.id,
        "priority": PRIORITIES.index(chosen.priority),
        "created_at": now,
        "run_at": chosen.run_at,
        "timeout_seconds": chosen.timeout_seconds or context.catalog.entry(kind, resolved.id).timeout_s,
        "queue_timeout_seconds": chosen.queue_timeout_seconds,
        "action_timeout_seconds": chosen.action_timeout_seconds,
        "max_attempts": chosen.max_attempts or (1 if is_agent else 3),
        "on_unknown_create": on_unknown_create,
        "strict_model": chosen.strict_model,
        "retention_days": chosen.retention_days or context.settings.result_retention_days,
        "is_planning": planning.is_planning(body),
        "previous_job_id": chosen.previous_job_id,
        "previous_interaction_id": body.get("previous_interaction_id"),
        "conversation_id": job_id,
        "webhook_url": chosen.webhook_url,
        "webhook_events": chosen.webhook_events,
        "user_metadata": chosen.metadata,
        "labels": body.get("labels") or {},
        "substitutions": [dict(substitution) for substitution in resolved.substitutions],
        "notes": [],
    }


def accept(
    context: Context, orders: Sequence[Order], backlog: Backlog | None = None, quota: Quota | None = None
) -> list[Accepted | NightdeskError]:
    """Write a group of orders in one transaction, then hint their starts; one outcome for each order."""
    backlog, quota = backlog or Backlog(), quota or Quota(context.settings.max_tokens_per_day)
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
            queued=backlog.count(session),
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
    backlog.add(sum(job.status == Status.QUEUED for job, _ in group.new))
    wake.send_starts(context, [job for job, _ in group.new if _was_hinted(job, now)])
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
        if group.queued + len(order.drafts) > context.settings.max_queued:
            raise QuotaExceeded("too many jobs are waiting to be started", QUEUE_FULL_RETRY_S)
        group.quota.check(session, order.project_id, group.now)
        for draft in order.drafts:
            _place(session, draft, group)
        return _noted(order, _reserve(session, order, group), group)
    except NightdeskError as error:
        return error


def _replay(session: Session, order: Order, group: _Group) -> Accepted | None:
    fresh = group.fresh.get((order.project_id, order.path, order.key or ""))
    if fresh is not None:
        return _same(order, fresh[0], fresh[1].jobs)
    held = session.get(Idempotency, (order.project_id, order.path, order.key))
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
    for draft in order.drafts:
        if draft.job.status == Status.QUEUED:
            group.queued += 1
            if group.room > 0:
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
