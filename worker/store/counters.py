"""Metrics summed over all processes and restarts, so that one scrape of any API process tells everything."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Counter
from worker.store import rows


def add(session: Session, amounts: Mapping[tuple[str, str], float]) -> None:
    """Add to each counter, named by (name, labels as JSON)."""
    if not amounts:
        return
    found = [{"name": name, "labels": labels, "value": value} for (name, labels), value in sorted(amounts.items())]
    statement = rows.insert_into(session, Counter).values(found)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name", "labels"], set_={"value": col(Counter.value) + statement.excluded.value}
        )
    )


def all_counters(session: Session) -> list[Counter]:
    """Every counter."""
    return list(session.scalars(sa.select(Counter).order_by(col(Counter.name), col(Counter.labels))))
