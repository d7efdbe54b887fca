"""What the upstream keeps for a project, by its name there: whose it is, until it is gone there too."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from worker.models import Holding

AT_ONCE = 5000
"""Names in one statement: SQLite takes some 32,000 parameters, of which a row needs five."""
NO_SYNC = {"synchronize_session": False}


def hold(
    session: Session, project_id: str, kind: str, names: Iterable[str], *, now: datetime, expires_at: datetime
) -> None:
    """Note that these are the project's; what is held already stays its owner's, and is kept as long as asked for."""
    values = {"kind": kind, "project_id": project_id, "created_at": now, "expires_at": expires_at}
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    for some in _some(names):
        held = insert(Holding).values([{"name": name, **values} for name in some])
        mine = col(Holding.project_id) == held.excluded.project_id
        is_longer = sa.and_(mine, col(Holding.expires_at) < held.excluded.expires_at)
        longer = {"expires_at": held.excluded.expires_at}
        session.execute(held.on_conflict_do_update(index_elements=["name"], set_=longer, where=is_longer))


def owners(session: Session, names: Collection[str]) -> dict[str, str]:
    """The projects by name of what is held; what nobody holds is not among them."""
    found: dict[str, str] = {}
    for some in _some(names):
        wanted = sa.select(col(Holding.name), col(Holding.project_id)).where(col(Holding.name).in_(some))
        found |= {row.name: row.project_id for row in session.execute(wanted)}
    return found


def prune(session: Session, now: datetime, limit: int) -> None:
    """Forget what the upstream has forgotten."""
    gone = sa.select(col(Holding.name)).where(col(Holding.expires_at) <= now).limit(limit)
    session.execute(sa.delete(Holding).where(col(Holding.name).in_(gone)), execution_options=NO_SYNC)


def _some(names: Iterable[str]) -> Iterator[list[str]]:
    """Sorted, so that two who note the same names never wait for each other."""
    ordered = sorted(set(names))
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]
