"""Who holds API keys, for many keys at once: asked at every request, so it reads no more than it needs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import ApiKey


@dataclass(frozen=True, slots=True)
class Holder:
    """The project that a key acts for, and what it may do."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    last_used_at: datetime | None


def of_digests(session: Session, digests: Collection[str], now: datetime) -> dict[str, Holder]:
    """The holders by digest; keys that do not exist, are revoked or have expired have none."""
    wanted = sa.select(
        col(ApiKey.digest), col(ApiKey.project_id), col(ApiKey.id), col(ApiKey.scopes), col(ApiKey.last_used_at)
    ).where(col(ApiKey.digest).in_(digests), *_live(now))
    return {row[0]: Holder(row[1], row[2], frozenset(row[3]), row[4]) for row in session.execute(wanted)}


def digests(session: Session, now: datetime, limit: int) -> frozenset[str]:
    """The digests of so many keys that have a holder, the newest."""
    wanted = sa.select(col(ApiKey.digest)).where(*_live(now)).order_by(col(ApiKey.id).desc()).limit(limit)
    return frozenset(session.scalars(wanted))


def living(session: Session, key_ids: Collection[str], now: datetime) -> set[str]:
    """Those of these keys that are neither revoked nor expired."""
    return set(session.scalars(sa.select(col(ApiKey.id)).where(col(ApiKey.id).in_(key_ids), *_live(now))))


def _live(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    is_lasting = sa.or_(col(ApiKey.expires_at).is_(None), col(ApiKey.expires_at) > now)
    return col(ApiKey.revoked_at).is_(None), is_lasting
