"""Plans: through which index PostgreSQL goes for each hot statement, how many rows it expects and what it costs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from tests import factories
from tests.overheard import overheard
from worker.database import Database
from worker.store import claims, deliveries, jobs, removals, results, starts

Call = Callable[[Session, datetime], Any]
CALLS: dict[str, Call] = {
    "claim polls": lambda s, now: claims.polls(s, claim="c", now=now, until=now, limit=500),
    "next poll": lambda s, _: claims.next_poll(s),
    "next cancels": lambda s, now: claims.next_cancels(s, now, 64),
    "sweep what is due": lambda s, now: claims.swept(s, now, 500),
    "expire": lambda s, now: claims.expired(s, now, 500),
    "projects that wait": lambda s, _: starts.waiting_projects(s),
    "pick starts": lambda s, now: starts.startable(s, project_id="p", priority=1, now=now, closed=["x"], limit=32),
    "count in flight": lambda s, _: jobs.in_flight(s, factories.MODEL),
    "count waiting": lambda s, _: jobs.waiting(s),
    "claim deliveries": lambda s, now: deliveries.claim(
        s, claim="c", now=now, until=now, limit=64, skip=deliveries.Skip({("p", "x")})
    ),
    "prune jobs": lambda s, now: removals.old_jobs(s, now - timedelta(days=90), 500),
    "prune results": lambda s, now: results.expired(s, now, 500),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The indexes used, tables walked whole, the rows expected from the first of them, the whole cost."""

    indexes: tuple[str, ...]
    walked: tuple[str, ...]
    rows: int
    cost: float


def explain(database: Database) -> dict[str, Plan]:
    """The plan of each hot statement, in a transaction that is rolled back."""
    plans = {}
    for name, call in CALLS.items():
        with overheard(database.engine) as said, database.write() as session:
            call(session, datetime.now(UTC))
            session.rollback()
        statement, parameters = said[0]
        with database.engine.connect() as connection:
            told = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
        plans[name] = _plan(told[0]["Plan"])
    return plans


def _plan(root: dict[str, Any]) -> Plan:
    nodes = list(_nodes(root))
    looks = [node for node in nodes if "Index Name" in node]
    walked = tuple(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan")
    rows = int((looks or nodes)[0]["Plan Rows"])
    return Plan(tuple(dict.fromkeys(node["Index Name"] for node in looks)), walked, rows, float(root["Total Cost"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in node.get("Plans", ()):
        yield from _nodes(child)
    yield node
