"""The outbox: what happened to a job, and one delivery of it to each receiver, written beside the change itself.

Who hears is read in the same transaction: an event is never lost to a receiver that was there when it happened.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import sqlalchemy as sa
from sqlmodel import Session

from worker import document, ids
from worker.models import Delivery, Event, Job, WebhookEndpoint
from worker.states import DEFAULT_EVENTS
from worker.store import endpoints, rows
from worker.store.deliveries import PENDING
from worker.store.endpoints import Listener

MAX_CALLS_BYTES = 64 * 1024
"""What an event tells of function calls; their job has them whole."""

_HEARD = "heard"


class Receiver(NamedTuple):
    """Where one delivery goes: to a job's own URL, or to an endpoint."""

    url: str
    host: str
    endpoint_id: str | None = None


class Heard(NamedTuple):
    """The last event of a job that somebody hears, and one host that it goes to."""

    event_type: str
    host: str


def append(
    session: Session,
    job: Job,
    event_type: str,
    now: datetime,
    *,
    outcome: dict[str, Any] | None = None,
    result_expires_at: datetime | None = None,
) -> Event:
    """Write the event numbered `job.sequence` and one delivery for each receiver."""
    event = Event(**_event(job, event_type, now))
    found = _receivers(job, event_type, endpoints.listeners(session, {job.project_id}))
    if found:
        event.payload = document.payload(event, document.render(job, outcome, result_expires_at))
        session.add_all([_delivery(event, receiver, now) for receiver in found])
        sa.inspect(job).info[_HEARD] = Heard(event_type, found[0].host)
    session.add(event)
    return event


def append_all(session: Session, moved: Sequence[Job], event_type: str, now: datetime) -> None:
    """Write the events of jobs that made the same move together."""
    silent = []
    listeners = endpoints.listeners(session, {job.project_id for job in moved})
    for job in moved:
        if _receivers(job, event_type, listeners):
            append(session, job, event_type, now)
        else:
            silent.append(_event(job, event_type, now))
    rows.insert(session, Event, silent)


def heard(job: Job) -> Heard | None:
    """The event that the move which gave this job back wrote, if somebody hears it."""
    found: Heard | None = sa.inspect(job).info.get(_HEARD)
    return found


def announce(
    session: Session, receivers: Iterable[WebhookEndpoint | Listener], event_type: str, body: bytes, now: datetime
) -> list[Delivery]:
    """Write the deliveries of an event that has no job; each carries its body."""
    event_id = ids.new("evt", now)
    made = [
        Delivery(
            id=ids.new("dlv", now),
            project_id=one.project_id,
            job_id="",
            event_id=event_id,
            event_type=event_type,
            endpoint_id=one.id,
            url=one.url,
            host=one.host,
            status=PENDING,
            created_at=now,
            due_at=now,
            body=body,
        )
        for one in receivers
    ]
    session.add_all(made)
    session.flush()
    return made


def _event(job: Job, event_type: str, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.new("evt", now),
        "project_id": job.project_id,
        "job_id": job.id,
        "sequence": job.sequence,
        "type": event_type,
        "created_at": now,
        "data": _summary(job),
    }


def _receivers(job: Job, event_type: str, listeners: Iterable[Listener]) -> list[Receiver]:
    """Where an event goes: the job's `webhook_url` and its `webhook_config`, and the endpoints that want it."""
    wanted = DEFAULT_EVENTS if job.webhook_events is None else job.webhook_events
    urls = [job.webhook_url] if job.webhook_url and event_type in wanted else []
    if job.webhook_config and event_type in DEFAULT_EVENTS:
        urls += job.webhook_config["uris"]
    own = [Receiver(url, urlsplit(url).hostname or "") for url in dict.fromkeys(urls)]
    others = (one for one in listeners if one.project_id == job.project_id and one.wants(event_type))
    return own + [Receiver(one.url, one.host, one.id) for one in others]


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


def _delivery(event: Event, receiver: Receiver, now: datetime) -> Delivery:
    return Delivery(
        id=ids.new("dlv", now),
        project_id=event.project_id,
        job_id=event.job_id,
        event_id=event.id,
        event_type=event.type,
        endpoint_id=receiver.endpoint_id,
        url=receiver.url,
        host=receiver.host,
        status=PENDING,
        created_at=now,
        due_at=now,
    )
