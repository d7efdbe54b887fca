"""The audit log: who did what, from where, written in the transaction of the deed. Never what a request carried."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker import ids
from worker.models import AuditEntry
from worker.store import projects, rows

SUBMITTED, RETRIED, PLANNED = "job.submit", "job.retry", "job.plan"
BUYING = (SUBMITTED, RETRIED, PLANNED)
"""What makes a job that is bought."""

ADOPTED, RESPONDED = "job.adopt", "job.respond"
CANCELLED, DELETED = "job.cancel", "job.delete"
UPLOADED, REDELIVERED = "file.upload", "delivery.redeliver"
SECRET_READ, SECRET_ROTATED = "secret.read", "secret.rotate"
KEY_CREATED, KEY_ROTATED, KEY_REVOKED = "key.create", "key.rotate", "key.revoke"
ENDPOINT_CREATED, ENDPOINT_CHANGED, ENDPOINT_DELETED = "endpoint.create", "endpoint.change", "endpoint.delete"
ENDPOINT_ROTATED, ENDPOINT_PINGED, ENDPOINT_REPLAYED = "endpoint.rotate", "endpoint.ping", "endpoint.replay"
PROJECT_CREATED, PROJECT_LIMITED = "project.create", "project.limits"
GATE_PAUSED, GATE_RESUMED = "gate.pause", "gate.resume"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a key's id, or `cli:` and an operator's name; the address or the machine that it came from."""

    name: str
    address: str | None = None
    request_id: str | None = None


SETTINGS = Actor("settings")
"""Who started the service with a key in its settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that was done: `number` jobs at once, of which `subject` is the first."""

    project_id: str
    by: Actor
    action: str
    subject: str | None
    number: int = 1


def note(
    session: Session, by: Actor | None, action: str, *, project_id: str, subject: str | None, now: datetime
) -> None:
    """Remember that this was done to `subject`; nothing where nobody did it but the engine itself."""
    if by is not None:
        note_all(session, [Deed(project_id=project_id, by=by, action=action, subject=subject)], now)


def note_for_all(session: Session, by: Actor, action: str, *, subject: str, now: datetime) -> None:
    """Remember what concerns every project: in the log of the one that every installation has."""
    project = projects.by_name(session, projects.DEFAULT)
    if project is not None:
        note(session, by, action, project_id=project.id, subject=subject, now=now)


def note_all(session: Session, deeds: Sequence[Deed], now: datetime) -> None:
    """Remember what was done, in one statement."""
    rows.insert(session, AuditEntry, [_row(deed, ids.new("aud", now), now) for deed in deeds])


def _row(deed: Deed, entry_id: str, now: datetime) -> dict[str, object]:
    return {
        "id": entry_id,
        "project_id": deed.project_id,
        "at": now,
        "action": deed.action,
        "actor": deed.by.name,
        "address": deed.by.address,
        "request_id": deed.by.request_id,
        "subject": deed.subject,
        "number": deed.number,
    }


@dataclass(frozen=True, slots=True)
class Filters:
    """What `GET /v1/audit` can ask for; empty fields ask for nothing."""

    action: str | None = None
    actor: str | None = None
    subject: str | None = None
    since: datetime | None = None


def page(session: Session, project_id: str, filters: Filters, *, before: str | None, limit: int) -> list[AuditEntry]:
    """Up to `limit` entries of a project, newest first, older than the entry `before`."""
    statement = sa.select(AuditEntry).where(col(AuditEntry.project_id) == project_id)
    if filters.action is not None:
        statement = statement.where(col(AuditEntry.action) == filters.action)
    if filters.actor is not None:
        statement = statement.where(col(AuditEntry.actor) == filters.actor)
    if filters.subject is not None:
        statement = statement.where(col(AuditEntry.subject) == filters.subject)
    if filters.since is not None:
        statement = statement.where(col(AuditEntry.id) >= ids.first("aud", filters.since))
    if before is not None:
        statement = statement.where(col(AuditEntry.id) < before)
    return list(session.scalars(statement.order_by(col(AuditEntry.id).desc()).limit(limit)))


def bought(session: Session, project_id: str, since: datetime) -> int:
    """How many jobs that cost something a project has submitted since then, whether or not they are still here."""
    statement = sa.select(sa.func.coalesce(sa.func.sum(col(AuditEntry.number)), 0)).where(
        col(AuditEntry.project_id) == project_id,
        col(AuditEntry.id) >= ids.first("aud", since),
        col(AuditEntry.action).in_(BUYING),
    )
    return int(session.execute(statement).scalar_one())


def forget(session: Session, before: datetime, limit: int) -> int:
    """Forget entries made before `before`, at most so many; gives back how many."""
    old = sa.select(col(AuditEntry.id)).where(col(AuditEntry.id) < ids.first("aud", before))
    chosen = old.order_by(col(AuditEntry.id)).limit(limit)
    forgotten = session.execute(sa.delete(AuditEntry).where(col(AuditEntry.id).in_(chosen)))
    return int(getattr(forgotten, "rowcount", 0))
