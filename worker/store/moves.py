"""The one way a job changes its status: a guarded UPDATE that writes event and webhook outbox beside it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import sqlalchemy as sa
from sqlmodel import Session, col

from worker import document, ids
from worker.models import Delivery, Event, Job
from worker.states import DEFAULT_EVENTS, EVENTS, TERMINAL, Status, may_move
from worker.store import rows

PENDING = "pending"
NEXT_SEQUENCE = col(Job.sequence) + 1
"""Numbers the event that is about to be appended."""

FRESH = {"synchronize_session": False, "populate_existing": True}
"""Rows as the database gave them back, whatever the session has seen of them before."""

MAX_CALLS_BYTES = 64 * 1024
"""What an event tells of function calls; their job has them whole."""

AT_THE_END: dict[str, Any] = {"due_at": None, "claim": None, "deadline_at": None, "required_action": None}


@dataclass(frozen=True, slots=True)
class Step:
    """One job of a crowd that moves: the claim that it must be under, if any, and its own values."""

    job_id: str
    claim: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def move_all(
    session: Session,
    steps: Sequence[Step],
    *,
    sources: Collection[Status],
    target: Status,
    now: datetime,
    values: Mapping[str, Any] | None = None,
) -> list[Job]:
    """Move many jobs to `target` as `move` does one, in one statement; gives back those that won their race.

    Every step has values for the same fields; `values` are those of all.
    """
    if not steps:
        return []
    table = Job.__table__.c  # type: ignore[attr-defined]
    own = [table[name] for name in steps[0].values]
    fence = sa.column("held", table.claim.type)
    given = rows.given(
        session,
        [table.id, fence, *own],
        [{"id": step.job_id, "held": step.claim, **step.values} for step in steps],
    )
    changes = _changes(sources, target, now, values) | {column.name: given.c[column.name] for column in own}
    statement = sa.update(Job).where(
        col(Job.id) == given.c.id,
        col(Job.status).in_(sources),
        sa.or_(given.c.held.is_(None), col(Job.claim) == given.c.held),
    )
    moved = list(session.scalars(statement.values(changes).returning(Job), execution_options=FRESH))
    if target in EVENTS:
        append_all(session, moved, EVENTS[target], now)
    return moved


def move(
    session: Session,
    job_id: str,
    *,
    sources: Collection[Status],
    target: Status,
    now: datetime,
    claim: str | None = None,
    values: Mapping[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
    result_expires_at: datetime | None = None,
) -> Job | None:
    """Move a job to `target` if it is in one of `sources` (and under `claim`, if given); None: the race was lost.

    Writes the event and the deliveries of that move. `outcome` is the result's output, for the webhook's body.
    """
    changes = _changes(sources, target, now, values)
    job = change(session, job_id, statuses=sources, claim=claim, values=changes)
    if job is not None and target in EVENTS:
        append(session, job, EVENTS[target], now, outcome=outcome, result_expires_at=result_expires_at)
    return job


def _changes(
    sources: Collection[Status], target: Status, now: datetime, values: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a move to `target` sets; raises ValueError where no job may make it."""
    illegal = [source for source in sources if not may_move(source, target)]
    if illegal:
        raise ValueError(f"no job moves from {', '.join(illegal)} to {target}")
    changes: dict[str, Any] = {"status": target, **(values or {})}
    if target in TERMINAL:
        changes = {**AT_THE_END, "finished_at": now, **changes}
    if target in EVENTS:
        changes["sequence"] = NEXT_SEQUENCE
    return changes


def change(
    session: Session,
    job_id: str,
    *,
    statuses: Collection[Status],
    claim: str | None = None,
    values: Mapping[str, Any],
) -> Job | None:
    """Change fields of a job that is in one of `statuses` (and under `claim`, if given); None: it is not, any more."""
    statement = sa.update(Job).where(col(Job.id) == job_id, col(Job.status).in_(statuses))
    if claim is not None:
        statement = statement.where(col(Job.claim) == claim)
    returning = statement.values(dict(values)).returning(Job)
    return session.execute(returning, execution_options=FRESH).scalar_one_or_none()


def append(
    session: Session,
    job: Job,
    event_type: str,
    now: datetime,
    *,
    outcome: dict[str, Any] | None = None,
    result_expires_at: datetime | None = None,
) -> Event:
    """Write the event numbered `job.sequence` and one delivery for each subscriber."""
    event = Event(**_event(job, event_type, now))
    urls = receivers(job, event_type)
    if urls:
        event.payload = document.payload(event, document.render(job, outcome, result_expires_at))
        session.add_all([_delivery(event, url, now) for url in urls])
    session.add(event)
    return event


def append_all(session: Session, moved: Iterable[Job], event_type: str, now: datetime) -> None:
    """Write the events of jobs that made the same move together."""
    silent = []
    for job in moved:
        if receivers(job, event_type):
            append(session, job, event_type, now)
        else:
            silent.append(_event(job, event_type, now))
    if silent:
        session.execute(sa.insert(Event), silent)


def _event(job: Job, event_type: str, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.new("evt", int(now.timestamp() * 1000)),
        "project_id": job.project_id,
        "job_id": job.id,
        "sequence": job.sequence,
        "type": event_type,
        "created_at": now,
        "data": _summary(job),
    }


def receivers(job: Job, event_type: str) -> list[str]:
    """Where events of this type go: the job's `webhook_url`, if it wants them, and what its `webhook_config` names."""
    wanted = DEFAULT_EVENTS if job.webhook_events is None else job.webhook_events
    urls = [job.webhook_url] if job.webhook_url and event_type in wanted else []
    if job.webhook_config and event_type in DEFAULT_EVENTS:
        urls += job.webhook_config["uris"]
    return list(dict.fromkeys(urls))


def _summary(job: Job) -> dict[str, Any]:
    summary: dict[str, Any] = {"status": job.status, "turn": job.turn, "attempt": job.attempt}
    if job.interaction_id:
        summary["interaction_id"] = job.interaction_id
    if job.required_action:
        summary["required_action"] = _calls(job.required_action)
    if job.substitutions:
        summary["substitutions"] = job.substitutions
    if job.error:
        summary["error"] = {name: job.error.get(name) for name in ("code", "message", "retryable")}
    return summary


def _calls(action: dict[str, Any]) -> dict[str, Any]:
    """The open calls; without their arguments, and then without the calls, where they are too large for an event."""
    bare = [{**call, "arguments": None} for call in action["function_calls"]]
    kept: list[list[dict[str, Any]]] = [action["function_calls"], bare]
    fits = (calls for calls in kept if len(orjson.dumps(calls)) <= MAX_CALLS_BYTES)
    return {**action, "function_calls": next(fits, [])}


def _delivery(event: Event, url: str, now: datetime) -> Delivery:
    return Delivery(
        id=ids.new("dlv", int(now.timestamp() * 1000)),
        project_id=event.project_id,
        job_id=event.job_id,
        event_id=event.id,
        url=url,
        host=urlsplit(url).hostname or "",
        status=PENDING,
        created_at=now,
        due_at=now,
    )
