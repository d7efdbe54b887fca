"""When things last happened: the tickers' compare-and-set and the signs of life that `/readyz` shows."""

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Moment
from worker.store import rows

SWEEP, PRUNE, FOLLOW, RETENTION = "sweep", "prune", "follow", "retention"
CONSUMED, UPSTREAM = "consumed", "upstream"


def win(session: Session, name: str, *, now: datetime, before: datetime) -> bool:
    """Whether the caller is the one to act: true for one caller since `before`."""
    first = (
        rows.insert_into(session, Moment).values(name=name, at=now).on_conflict_do_nothing().returning(col(Moment.name))
    )
    if session.execute(first).first() is not None:
        return True
    later = sa.update(Moment).where(col(Moment.name) == name, col(Moment.at) <= before).values(at=now)
    return session.execute(later.returning(col(Moment.name))).first() is not None


def note(session: Session, name: str, now: datetime) -> None:
    """It happened now."""
    noted = rows.insert_into(session, Moment).values(name=name, at=now)
    later = col(Moment.at) < noted.excluded.at
    session.execute(noted.on_conflict_do_update(index_elements=["name"], set_={"at": noted.excluded.at}, where=later))


def all_moments(session: Session) -> dict[str, datetime]:
    """When each thing last happened."""
    return {moment.name: moment.at for moment in session.scalars(sa.select(Moment))}
