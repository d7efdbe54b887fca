"""Projects, their API keys and the secret that signs their `webhook_url` deliveries."""

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker import ids
from worker.keys import Issued
from worker.models import ApiKey, Project

DEFAULT = "default"


def create_project(session: Session, name: str, *, sealed_secret: bytes, now: datetime) -> Project:
    """A project with its webhook secret."""
    project = Project(id=ids.new("prj"), name=name, created_at=now, webhook_secret=sealed_secret)
    session.add(project)
    session.flush()
    return project


def by_name(session: Session, name: str) -> Project | None:
    """The project of this name."""
    return session.scalars(sa.select(Project).where(col(Project.name) == name)).one_or_none()


def get(session: Session, project_id: str) -> Project | None:
    """The project."""
    return session.get(Project, project_id, populate_existing=True)


def several(session: Session, project_ids: Collection[str]) -> list[Project]:
    """These projects."""
    return list(session.scalars(sa.select(Project).where(col(Project.id).in_(project_ids))))


def all_projects(session: Session) -> list[Project]:
    """Every project, oldest first."""
    return list(session.scalars(sa.select(Project).order_by(col(Project.id))))


def limit(session: Session, project_id: str, values: Mapping[str, int | None]) -> None:
    """Set limits of a project's own, by their columns; None: as for every project."""
    session.execute(sa.update(Project).where(col(Project.id) == project_id).values(dict(values)))


def in_flight_limits(session: Session, project_ids: Collection[str]) -> dict[str, int]:
    """How many jobs in flight these projects may have, those with a limit of their own."""
    limited = sa.select(col(Project.id), col(Project.max_in_flight)).where(col(Project.max_in_flight).is_not(None))
    found = {row[0]: int(row[1]) for row in session.execute(limited)}
    return {name: found[name] for name in project_ids if name in found}


def add_key(
    session: Session,
    project_id: str,
    name: str,
    issued: Issued,
    *,
    scopes: list[str],
    now: datetime,
    expires_at: datetime | None = None,
) -> ApiKey:
    """Store a key by its digest."""
    key = ApiKey(
        id=ids.new("key"),
        project_id=project_id,
        name=name,
        digest=issued.digest,
        hint=issued.hint,
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    return key


def has_key(session: Session, digest: str) -> bool:
    """Whether this key was ever stored."""
    return session.execute(sa.select(col(ApiKey.id)).where(col(ApiKey.digest) == digest)).first() is not None


def touch_key(session: Session, key_id: str, now: datetime) -> None:
    """Remember when the key was last used."""
    session.execute(sa.update(ApiKey).where(col(ApiKey.id) == key_id).values(last_used_at=now))


def keys(session: Session) -> list[tuple[ApiKey, str]]:
    """Every key with its project's name, oldest first."""
    statement = sa.select(ApiKey, col(Project.name)).join(Project, col(ApiKey.project_id) == col(Project.id))
    return [(row[0], row[1]) for row in session.execute(statement.order_by(col(ApiKey.id)))]


def live_key(session: Session, key_id: str, now: datetime) -> ApiKey | None:
    """The key, kept as it is until the end of the transaction; None: it does not exist, is revoked or has expired."""
    statement = sa.select(ApiKey).where(col(ApiKey.id) == key_id, col(ApiKey.revoked_at).is_(None)).with_for_update()
    key = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    return None if key is None or (key.expires_at is not None and key.expires_at <= now) else key


def expire(session: Session, key: ApiKey, at: datetime) -> None:
    """Let a key end at this time, if it does not end before."""
    key.expires_at = at if key.expires_at is None else min(key.expires_at, at)
    session.add(key)
    session.flush()


def revoke(session: Session, key_id: str, now: datetime) -> str | None:
    """End a key at once; gives back whose it was, or None: it was not alive."""
    statement = (
        sa.update(ApiKey)
        .where(col(ApiKey.id) == key_id, col(ApiKey.revoked_at).is_(None))
        .values(revoked_at=now)
        .returning(col(ApiKey.project_id))
    )
    return session.execute(statement).scalar_one_or_none()


def lock(session: Session, project_id: str) -> Project | None:
    """The project, kept as it is until the end of the transaction."""
    statement = sa.select(Project).where(col(Project.id) == project_id).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
