"""Answers that are owed: jobs whose create was sent without an idempotency key and has not been answered yet.

Kept among the idempotency keys, with the digest of the create in the path and the job as the key. `created_at` is the
last sign of life of the request that waits for the answer.
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Idempotency


def unanswered(session: Session, project_id: str, path: str) -> dict[str, datetime]:
    """The jobs whose equal creates have not been answered, and when somebody last waited for each."""
    mine = sa.select(col(Idempotency.key), col(Idempotency.created_at))
    mine = mine.where(col(Idempotency.project_id) == project_id, col(Idempotency.path) == path)
    return {row.key: row.created_at for row in session.execute(mine)}


def take(session: Session, project_id: str, path: str, job_id: str, *, seen: datetime, now: datetime) -> bool:
    """Wait for this answer from now on; false where somebody else took it, or it was given, since it was seen."""
    taken = sa.update(Idempotency).where(*_one(project_id, path, job_id), col(Idempotency.created_at) == seen)
    statement = taken.values(created_at=now).returning(col(Idempotency.key))
    return session.execute(statement).first() is not None


def touch(session: Session, entries: Collection[tuple[str, str, str]], at: datetime) -> None:
    """Somebody waits for these answers at this moment."""
    for entry in sorted(entries):
        session.execute(sa.update(Idempotency).where(*_one(*entry)).values(created_at=at))


def answered(session: Session, entries: Collection[tuple[str, str, str]]) -> None:
    """These answers were given: nothing is owed any more."""
    for entry in sorted(entries):
        session.execute(sa.delete(Idempotency).where(*_one(*entry)))


def _one(project_id: str, path: str, job_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        col(Idempotency.project_id) == project_id,
        col(Idempotency.path) == path,
        col(Idempotency.key) == job_id,
    )
