"""Registered webhook endpoints: who listens, what their owners change, and which the sweep must look at."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Project, WebhookEndpoint
from worker.store.rows import FRESH

_LISTENERS = "listeners"
_TABLE = WebhookEndpoint.__table__.c  # type: ignore[attr-defined]


class Listener(NamedTuple):
    """An endpoint as whoever writes an event must know it."""

    id: str
    project_id: str
    url: str
    host: str
    events: list[str] | None

    def wants(self, event_type: str) -> bool:
        """Whether it asked for events of this type: it did unless it named others."""
        return self.events is None or event_type in self.events


_LISTENING = (
    sa.select(*(_TABLE[name] for name in Listener._fields))
    .where(_TABLE.project_id.in_(sa.bindparam("project_ids", expanding=True)), _TABLE.deleted_at.is_(None))
    .order_by(_TABLE.id)
)
"""Built once: it is asked in every transaction that writes an event."""


def listeners(session: Session, project_ids: Collection[str]) -> list[Listener]:
    """The endpoints of these projects, disabled ones too, as this transaction first saw them."""
    known: dict[str, list[Listener]] = session.info.setdefault(_LISTENERS, {})
    missing = {project_id for project_id in project_ids if project_id not in known}
    if missing:
        known |= {project_id: [] for project_id in missing}
        for row in session.execute(_LISTENING, {"project_ids": list(missing)}):
            known[row.project_id].append(Listener(*row))
    return [one for project_id in project_ids for one in known[project_id]]


def add(session: Session, endpoint: WebhookEndpoint) -> None:
    """Register an endpoint."""
    session.add(endpoint)
    session.flush()


def number(session: Session, project_id: str) -> int:
    """How many a project has; whoever is about to add one comes here one at a time."""
    session.execute(sa.select(col(Project.id)).where(col(Project.id) == project_id).with_for_update())
    mine = sa.select(sa.func.count()).where(*_alive(project_id))
    return int(session.execute(mine).scalar_one())


def page(session: Session, project_id: str, *, before: str | None, limit: int) -> list[WebhookEndpoint]:
    """A project's endpoints, newest first, older than the endpoint `before`."""
    statement = sa.select(WebhookEndpoint).where(*_alive(project_id))
    if before:
        statement = statement.where(col(WebhookEndpoint.id) < before)
    return list(session.scalars(statement.order_by(col(WebhookEndpoint.id).desc()).limit(limit)))


def get(session: Session, endpoint_id: str, project_id: str, *, lock: bool = False) -> WebhookEndpoint | None:
    """The endpoint; None where it does not exist, was deleted or is another project's."""
    statement = sa.select(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id, *_alive(project_id))
    statement = statement.with_for_update() if lock else statement
    return session.scalars(statement, execution_options=FRESH).one_or_none()


def empty(session: Session, endpoint_id: str, project_id: str, now: datetime) -> WebhookEndpoint | None:
    """Delete an endpoint, but for what the sweep needs to cancel its deliveries; None where there is none."""
    private: dict[str, Any] = {"url": "", "description": None, "secret": b"", "old_secret": None}
    private |= {"header_names": [], "headers": None}
    statement = sa.update(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id, *_alive(project_id))
    returning = statement.values(**private, deleted_at=now, due_at=now).returning(WebhookEndpoint)
    return session.execute(returning, execution_options=FRESH).scalar_one_or_none()


def several(session: Session, endpoint_ids: Collection[str], *, lock: bool = False) -> dict[str, WebhookEndpoint]:
    """Those of these endpoints that are not deleted; locked in one order, so that no two wait for each other."""
    if not endpoint_ids:
        return {}
    mine = (col(WebhookEndpoint.id).in_(endpoint_ids), col(WebhookEndpoint.deleted_at).is_(None))
    statement = sa.select(WebhookEndpoint).where(*mine).order_by(col(WebhookEndpoint.id))
    statement = statement.with_for_update() if lock else statement
    found = session.scalars(statement, execution_options=FRESH)
    return {one.id: one for one in found}


def ailing(session: Session, endpoint_ids: Collection[str]) -> set[str]:
    """Those of these endpoints whose last attempt failed."""
    if not endpoint_ids:
        return set()
    statement = sa.select(col(WebhookEndpoint.id)).where(
        col(WebhookEndpoint.id).in_(endpoint_ids), col(WebhookEndpoint.failures) > 0
    )
    return set(session.scalars(statement))


def due(session: Session, now: datetime, limit: int) -> list[str]:
    """Endpoints whose waiting deliveries must be looked at."""
    statement = sa.select(col(WebhookEndpoint.id)).where(
        sa.text("due_at IS NOT NULL"), col(WebhookEndpoint.due_at) <= now
    )
    return list(session.scalars(statement.order_by(col(WebhookEndpoint.due_at)).limit(limit)))


def take(session: Session, endpoint_id: str, now: datetime) -> WebhookEndpoint | None:
    """Lock an endpoint whose deliveries must be looked at, deleted or not; None: it need not be, or somebody does."""
    statement = sa.select(WebhookEndpoint).where(
        col(WebhookEndpoint.id) == endpoint_id, col(WebhookEndpoint.due_at) <= now
    )
    statement = statement.with_for_update(skip_locked=True)
    return session.scalars(statement, execution_options=FRESH).one_or_none()


def remove(session: Session, endpoint: WebhookEndpoint) -> None:
    """Forget a deleted endpoint."""
    session.delete(endpoint)
    session.flush()


def _alive(project_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return col(WebhookEndpoint.project_id) == project_id, col(WebhookEndpoint.deleted_at).is_(None)
