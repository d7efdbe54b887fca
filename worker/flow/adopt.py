"""Adopt: a job for an interaction that was made elsewhere.

It runs already: it is polled and settled like any other, and no create is ever sent for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlmodel import Session

from worker import ids, options
from worker.context import Context
from worker.document import PRIORITIES
from worker.errors import Fault, Invalid, Unavailable, UpstreamError
from worker.flow import lost, submit, wake
from worker.flow.draft import contradictions, unknown_fields
from worker.flow.submit import Accepted, Order
from worker.gemini import planning
from worker.gemini.name import read_name
from worker.gemini.resource import Resource, is_id
from worker.models import Job
from worker.options import Options
from worker.states import Status
from worker.store import audit, interactions, jobs, leftovers, moves, submissions
from worker.telemetry import count, step

INTERACTION = "interaction_id"
AT = f"/{INTERACTION}"
UNKNOWN = Fault(AT, "no such interaction; one that Nightdesk did not make needs the scope admin")
NO_ATTEMPTS = 0
NOTE = "adopted: the interaction was made elsewhere, and the time limit counts from the adoption"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request adopts, and who may be told of it."""

    order: Order
    fields: Mapping[str, Any]
    is_admin: bool
    key_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Adoption:
    """An interaction that exists, and the job that it shall belong to."""

    order: Order
    job: Job
    resource: Resource
    now: datetime


def take_over(context: Context, asked: Asked) -> Accepted:
    """Make a job of an interaction; raises Invalid, IdempotencyReused, Gone, and Unavailable where nobody can tell."""
    with context.database.read() as session:
        held = submit.replay(session, asked.order)
    if held is not None:
        return held
    name, chosen = _read(context, asked.fields)
    with step("job.adopt", interaction_id=name) as line:
        with context.database.read() as session:
            _refuse_known(session, name, asked.order.project_id)
        if not asked.is_admin:
            raise Invalid(UNKNOWN)
        resource = _look(context, name)
        _give_back(context, resource, asked.order.project_id)
        now = context.clock()
        adoption = _Adoption(asked.order, _job(context, asked, chosen, resource, now), resource, now)
        accepted = _write(context, adoption)
        job = accepted.jobs[0]
        line.update(job_id=job.id, outcome="replayed" if accepted.replayed else "adopted")
    if not accepted.replayed:
        count("nightdesk_adopted_total", by="request")
        wake.moved(context, [job])
        if resource.has_ended:
            wake.polls(context)
    return accepted


def _read(context: Context, fields: Mapping[str, Any]) -> tuple[str, Options]:
    chosen, faults = options.read({name: fields[name] for name in options.ADOPTION & fields.keys()})
    faults += unknown_fields(fields, options.ADOPTION | {INTERACTION})
    if fields.get(INTERACTION) is None:
        faults.append(Fault(AT, "is required"))
    elif not is_id(fields[INTERACTION]):
        faults.append(Fault(AT, "must be an id of 1 to 512 characters"))
    faults += contradictions(context, chosen, {})
    if faults:
        raise Invalid(*faults)
    return fields[INTERACTION], chosen


def _refuse_known(session: Session, name: str, project_id: str) -> None:
    """An interaction belongs to one job at most, and of another project's, or one that is to go, nobody is told."""
    known = interactions.by_upstream_id(session, name)
    if known is None:
        if leftovers.is_left(session, name):
            raise Invalid(UNKNOWN)
        return
    if jobs.get(session, known.job_id, project_id) is None:
        raise Invalid(UNKNOWN)
    raise Invalid(Fault(AT, f"belongs to {known.job_id} already"))


def _look(context: Context, name: str) -> Resource:
    try:
        resource = context.gemini.get(name)
    except UpstreamError:
        raise Unavailable("the Gemini API does not say how the interaction stands; try again") from None
    if resource is None:
        raise Invalid(UNKNOWN)
    return resource


def _give_back(context: Context, resource: Resource, project_id: str) -> None:
    """An interaction that a job of ours still misses is that job's."""
    name = read_name(resource.user_metadata)
    if name is None:
        return
    with context.database.read() as session:
        is_awaited = lost.is_awaited(session, name)
    if is_awaited:
        lost.attach(context, resource, name)
        with context.database.read() as session:
            _refuse_known(session, resource.upstream_id, project_id)


def _job(context: Context, asked: Asked, chosen: Options, resource: Resource, now: datetime) -> Job:
    """The row as it is at first, to become `in_progress` in the same transaction."""
    job_id = ids.new("job", now)
    timeout_s = chosen.timeout_seconds or context.catalog.entry(resource.kind, resource.target).timeout_s
    return submissions.new(
        id=job_id,
        project_id=asked.order.project_id,
        status=Status.STARTING,
        kind=resource.kind,
        target=resource.target,
        priority=PRIORITIES.index(chosen.priority),
        created_at=now,
        claim=ids.token(),
        timeout_seconds=timeout_s,
        queue_timeout_seconds=chosen.queue_timeout_seconds,
        action_timeout_seconds=chosen.action_timeout_seconds,
        max_attempts=NO_ATTEMPTS,
        on_unknown_create="fail",
        retention_days=chosen.retention_days or context.settings.result_retention_days,
        is_planning=planning.is_planning({**resource.request, resource.kind: resource.target}),
        previous_interaction_id=resource.previous_id,
        conversation_id=job_id,
        webhook_url=chosen.webhook_url,
        webhook_events=chosen.webhook_events,
        user_metadata=chosen.metadata,
        labels=dict(resource.labels),
        substitutions=[],
        notes=[NOTE],
        key_id=asked.key_id,
        request_id=asked.request_id,
    )


def _write(context: Context, adoption: _Adoption) -> Accepted:
    """One transaction for key, job, interaction and events; raises Invalid where another job was quicker."""
    order, job, resource = adoption.order, adoption.job, adoption.resource
    with context.database.write() as session:
        if order.key is not None:
            held = submissions.reserve(session, submit.reservation(order, order.key, [job.id], adoption.now))
            if held is not None:
                return submit.held_by(session, order, held)
        _refuse_known(session, resource.upstream_id, order.project_id)
        job.conversation_id = _conversation(session, job)
        submissions.insert(session, [(job, orjson.dumps(resource.request))], adoption.now)
        is_ours = interactions.adopt(
            session,
            job,
            job.claim or "",
            upstream_id=resource.upstream_id,
            status=resource.status,
            now=adoption.now,
        )
        if not is_ours:
            raise Invalid(Fault(AT, "belongs to another job already"))
        now = adoption.now
        audit.note(session, order.by, audit.ADOPTED, project_id=order.project_id, subject=job.id, now=now)
        return Accepted([_run(context, session, adoption)])


def _run(context: Context, session: Session, adoption: _Adoption) -> Job:
    job, now = adoption.job, adoption.now
    first = now
    if not adoption.resource.has_ended:
        first = context.schedule(job.kind, job.target).next_time(0, now, context.chance())
    values = {
        "interaction_id": adoption.resource.upstream_id,
        "upstream_status": adoption.resource.status,
        "started_at": now,
        "sent_at": now,
        "claim": None,
        "due_at": first,
        "changed_at": now,
        "deadline_at": now + timedelta(seconds=job.timeout_seconds),
    }
    moved = moves.move(
        session, job.id, sources={Status.STARTING}, target=Status.IN_PROGRESS, now=now, claim=job.claim, values=values
    )
    assert moved is not None, "nobody else can see the row yet"
    return moved


def _conversation(session: Session, job: Job) -> str:
    """Where the interaction goes on from one of the project's own, its job belongs to that conversation."""
    before = interactions.by_upstream_id(session, job.previous_interaction_id) if job.previous_interaction_id else None
    owner = jobs.get(session, before.job_id, job.project_id) if before else None
    return owner.conversation_id if owner else job.conversation_id
