"""Who holds API keys, for many keys at once: asked at every request, so it reads no more than it needs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session

from worker.models import ApiKey


@dataclass(frozen=True, slots=True)
class Holder:
    """The project that a key acts for, and what it may do."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    last_used_at: datetime | None


_KEY = ApiKey.__table__.c  # type: ignore[attr-defined]
_LIVE = (
    _KEY.revoked_at.is_(None),
    sa.or_(_KEY.expires_at.is_(None), _KEY.expires_at > sa.bindparam("now")),
)
_HELD = sa.select(_KEY.digest, _KEY.project_id, _KEY.id, _KEY.scopes, _KEY.last_used_at).where(
    _KEY.digest.in_(sa.bindparam("digests", expanding=True)), *_LIVE
)
"""Built once: building it costs as much as asking it."""


def of_digests(session: Session, digests: Collection[str], now: datetime) -> dict[str, Holder]:
    """The holders by digest; keys that do not exist, are revoked or have expired have none."""
    found = session.execute(_HELD, {"digests": list(digests), "now": now})
    return {row[0]: Holder(row[1], row[2], frozenset(row[3]), row[4]) for row in found}


def digests(session: Session, now: datetime, limit: int) -> frozenset[str]:
    """The digests of so many keys that have a holder, the newest."""
    wanted = sa.select(_KEY.digest).where(*_LIVE).order_by(_KEY.id.desc()).limit(limit)
    return frozenset(session.scalars(wanted, {"now": now}))


def living(session: Session, key_ids: Collection[str], now: datetime) -> set[str]:
    """Those of these keys that are neither revoked nor expired."""
    return set(session.scalars(sa.select(_KEY.id).where(_KEY.id.in_(key_ids), *_LIVE), {"now": now}))
