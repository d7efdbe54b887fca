"""What is left outside the database with nobody to look after it, until it is gone.

Interactions and artifact folders of removed jobs, and orphans that still run.
"""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Leftover
from worker.store.rows import FRESH, once

INTERACTION, ARTIFACTS, ORPHAN = "interaction", "artifacts", "orphan"
ORPHAN_OF = "orphan/"
"""Before the id of an interaction that is to be cancelled: deleting it, as a job's owner may want, is another thing."""

OWING = "owing"
"""An interaction, too: of which it is not known yet what it used."""


def add(session: Session, found: Iterable[tuple[str, str]], due_at: datetime) -> list[Leftover]:
    """Remember (kind, name) pairs that are to be removed by `due_at` at the latest."""
    left = [Leftover(kind=kind, name=name, due_at=due_at) for kind, name in found]
    session.add_all(left)
    session.flush()
    return left


def is_left(session: Session, name: str) -> bool:
    """Whether this is to be removed, or is an orphan that is to be stopped."""
    names = (name, ORPHAN_OF + name)
    return session.execute(sa.select(col(Leftover.name)).where(col(Leftover.name).in_(names))).first() is not None


def take(session: Session, now: datetime, until: datetime) -> Leftover | None:
    """What is to be tried (again) next, kept from others until then; orphans first, for they cost money."""
    due = sa.select(col(Leftover.name)).where(col(Leftover.due_at) <= now)
    first = due.order_by(col(Leftover.kind) != ORPHAN, col(Leftover.due_at)).limit(1)
    chosen = once(first.with_for_update(skip_locked=True))
    statement = sa.update(Leftover).where(col(Leftover.name).in_(sa.select(chosen.c.name))).values(due_at=until)
    return session.execute(statement.returning(Leftover), execution_options=FRESH).scalar_one_or_none()


def gone(session: Session, name: str) -> None:
    """It is removed, or will not be tried any more."""
    session.execute(sa.delete(Leftover).where(col(Leftover.name) == name))


def later(session: Session, name: str, *, tries: int, due_at: datetime) -> None:
    """It could not be removed yet."""
    statement = sa.update(Leftover).where(col(Leftover.name) == name).values(tries=tries, due_at=due_at)
    session.execute(statement)
