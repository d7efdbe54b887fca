"""What the upstream keeps for a project, by its name there: whose it is, until it is gone there too."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Holding
from worker.store import rows

T = TypeVar("T")

AT_ONCE = 5000
"""Names in one statement: SQLite takes some 32,000 parameters, of which a row needs five."""


class Held(NamedTuple):
    """What a project holds, and until when it is kept."""

    name: str
    kind: str
    project_id: str
    expires_at: datetime


def hold(session: Session, found: Iterable[Held], now: datetime) -> None:
    """Note whose these are, of equal names the first; what is held already stays its owner's, for as long as asked."""
    # Each name once, in one order: two who note the same names must not wait for each other.
    by_name = {one.name: one for one in reversed(list(found))}
    for some in _some(sorted(by_name.values())):
        held = rows.insert_into(session, Holding).values([one._asdict() | {"created_at": now} for one in some])
        mine = col(Holding.project_id) == held.excluded.project_id
        is_longer = sa.and_(mine, col(Holding.expires_at) < held.excluded.expires_at)
        longer = {"expires_at": held.excluded.expires_at}
        session.execute(held.on_conflict_do_update(index_elements=["name"], set_=longer, where=is_longer))


def owners(session: Session, names: Collection[str]) -> dict[str, str]:
    """The projects by name of what is held; what nobody holds is not among them."""
    found: dict[str, str] = {}
    for some in _some(sorted(names)):
        wanted = sa.select(col(Holding.name), col(Holding.project_id)).where(col(Holding.name).in_(some))
        found |= {row.name: row.project_id for row in session.execute(wanted)}
    return found


def prune(session: Session, now: datetime, limit: int) -> None:
    """Forget what the upstream has forgotten."""
    gone = sa.select(col(Holding.name)).where(col(Holding.expires_at) <= now).limit(limit)
    session.execute(sa.delete(Holding).where(col(Holding.name).in_(gone)))


def _some(ordered: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]
