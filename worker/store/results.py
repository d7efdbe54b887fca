"""What interactions gave, until its retention ends."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from worker.models import Job, Result


def add(
    session: Session,
    job_id: str,
    turn: int,
    *,
    outcome: dict[str, Any],
    raw: bytes,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Keep the result of one turn."""
    session.add(
        Result(
            job_id=job_id,
            turn=turn,
            created_at=now,
            expires_at=expires_at,
            has_artifacts=bool(outcome.get("artifacts")),
            outcome=orjson.dumps(outcome),
            raw=raw,
        )
    )


def outcome(session: Session, job_id: str, turn: int) -> tuple[dict[str, Any], datetime] | None:
    """The output fields of a turn and when they expire; None where there are none (any more)."""
    statement = sa.select(col(Result.outcome), col(Result.expires_at))
    found = session.execute(statement.where(col(Result.job_id) == job_id, col(Result.turn) == turn)).one_or_none()
    return (orjson.loads(found.outcome), found.expires_at) if found else None


def raw(session: Session, job_id: str, turn: int) -> bytes | None:
    """The interaction's own body without media, as JSON bytes."""
    statement = sa.select(col(Result.raw)).where(col(Result.job_id) == job_id, col(Result.turn) == turn)
    return session.execute(statement).scalar_one_or_none()


def ends(session: Session, turns: Collection[tuple[str, int]]) -> dict[str, datetime]:
    """When the result of each (job, turn) is forgotten, by job, where it has one."""
    wanted = sa.select(col(Result.job_id), col(Result.turn), col(Result.expires_at))
    rows = session.execute(wanted.where(col(Result.job_id).in_({job_id for job_id, _ in turns})))
    return {row.job_id: row.expires_at for row in rows if (row.job_id, row.turn) in turns}


def expired(session: Session, now: datetime, limit: int) -> dict[str, bool]:
    """Ended jobs whose results are all past their retention, and whether they have artifacts."""
    other = aliased(Result)
    is_fresh = sa.exists().where(col(other.job_id) == col(Result.job_id), col(other.expires_at) > now)
    has_ended = sa.exists().where(col(Job.id) == col(Result.job_id), col(Job.finished_at).is_not(None))
    old = sa.select(col(Result.job_id), col(Result.has_artifacts))
    old = old.where(col(Result.expires_at) <= now, ~is_fresh, has_ended)
    found: dict[str, bool] = {}
    for row in session.execute(old.order_by(col(Result.expires_at)).limit(limit)):
        found[row.job_id] = row.has_artifacts or found.get(row.job_id, False)
    return found
