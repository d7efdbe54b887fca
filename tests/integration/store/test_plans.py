"""Plans: with many finished rows behind it, every claim still goes through its own small index."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests import factories
from tests.factories import DAY, NOW
from tests.integration.store.conftest import Store
from tests.overheard import overheard
from worker.models import AuditEntry, Delivery, Interaction, Job, JobInput, Result, UsageEntry
from worker.states import Status
from worker.store import (
    audit,
    claims,
    conversations,
    deliveries,
    hints,
    interactions,
    jobs,
    removals,
    results,
    starts,
    usage,
)

FINISHED = 20_000
LIVE = 40
LIVE_STATUSES = ("queued", "in_progress", "cancelling", "starting", "unconfirmed", "scheduled", "requires_action")
UNTIL = NOW + timedelta(seconds=15)
KEYS: dict[Any, str] = {
    Job: "id",
    Delivery: "id",
    Interaction: "token",
    UsageEntry: "token",
    Result: "job_id",
    JobInput: "job_id",
    AuditEntry: "id",
}
TURNS = [("copy_1", 1), ("copy_2", 1), ("copy_3", 2)]


def _audit(session: Session) -> object:
    return audit.page(session, "p", audit.Filters(), before="aud_x", limit=20)


def _listed(session: Session, **filters: Any) -> object:
    return jobs.page(session, "p", jobs.Filters(**filters), before="job_y", limit=20)


CALLS: dict[str, tuple[str, Callable[[Session], Any]]] = {
    "polls": ("ix_job_poll", lambda s: claims.polls(s, claim="c", now=NOW, until=UNTIL, limit=500)),
    "next poll": ("ix_job_poll", claims.next_poll),
    "next cancels": ("ix_job_cancel", lambda s: claims.next_cancels(s, NOW, 64)),
    "swept": ("ix_job_sweep", lambda s: claims.swept(s, NOW, 500)),
    "expired": ("ix_job_deadline", lambda s: claims.expired(s, NOW, 500)),
    "waiting projects": ("ix_job_start", starts.waiting_projects),
    "startable": (
        "ix_job_start",
        lambda s: starts.startable(s, project_id="p", priority=1, now=NOW, closed=["shut"], limit=32),
    ),
    "in flight": ("ix_job_in_flight", jobs.in_flight),
    "in flight of a target": ("ix_job_in_flight", lambda s: jobs.in_flight(s, factories.MODEL)),
    "in flight of projects": ("ix_job_(project|in_flight)", lambda s: jobs.in_flight_of(s, {"p": 1, "q": 2})),
    "waiting of a project": ("ix_job_(start|project|sweep)", lambda s: jobs.waiting(s, "p")),
    "audit": ("ix_audit_entry_project|audit_entry_1|audit_entry_pkey", _audit),
    "audit of one thing": (
        "ix_audit_entry_subject",
        lambda s: audit.page(s, "p", audit.Filters(subject="job_x"), before=None, limit=20),
    ),
    "bought today": ("ix_audit_entry_project", lambda s: audit.bought(s, "p", NOW + DAY)),
    "old audit": ("audit_entry_1|audit_entry_pkey", lambda s: audit.forget(s, NOW - timedelta(days=300), 500)),
    "awaits any": ("ix_job_(in_flight|sweep)", hints.awaits_any),
    "full targets": ("ix_job_in_flight", lambda s: jobs.full_targets(s, 1)),
    "waiting": ("ix_job_(start|deadline|sweep)", jobs.waiting),
    "followers": ("ix_job_previous", lambda s: jobs.followers(s, "job_x", 500)),
    "left waiting": ("ix_job_sweep", lambda s: jobs.left_waiting(s, frozenset({Status.COMPLETED}), 500)),
    "outwaited": ("ix_job_sweep", lambda s: conversations.outwaited(s, NOW, 500)),
    "untold": ("ix_job_sweep", lambda s: conversations.untold(s, NOW, "kept until", 500)),
    "conversation": ("ix_job_conversation", lambda s: conversations.summary(s, "p", "job_x")),
    "jobs of a conversation": ("ix_job_conversation", lambda s: _listed(s, conversation_id="job_x")),
    "ended jobs of a conversation": (
        "ix_job_conversation",
        lambda s: _listed(s, conversation_id="job_x", statuses=["completed", "failed"]),
    ),
    "thread": ("ix_job_conversation", lambda s: conversations.page(s, "p", "job_x", after="job_y", limit=20)),
    "requests": ("job_input_(1|pkey)", lambda s: jobs.bodies(s, TURNS)),
    "outcomes": ("result_(1|pkey)", lambda s: conversations.outcomes(s, TURNS, 1000)),
    "ends of results": ("result_(1|pkey)", lambda s: results.ends(s, TURNS)),
    "due deliveries": (
        "ix_delivery_due",
        lambda s: deliveries.claim(s, claim="c", now=NOW, until=UNTIL, limit=64, skip=deliveries.Skip({("p", "dead")})),
    ),
    "due count": ("ix_delivery_due", lambda s: deliveries.due_count(s, NOW, 1)),
    "old jobs": ("ix_job_finished", lambda s: removals.old_jobs(s, NOW - timedelta(days=300), 500)),
    "old deliveries": ("delivery_(1|pkey)", lambda s: removals.old_deliveries(s, NOW - timedelta(days=300), 500)),
    "owed usage": ("ix_interaction_usage", lambda s: interactions.claim_owed(s, NOW, {1: UNTIL}, 100)),
    "is usage owed": ("ix_interaction_usage", lambda s: interactions.is_owed(s, NOW)),
    "spent today": ("ix_usage_entry_", lambda s: usage.spent(s, "p", NOW)),
    "spent in a conversation": ("ix_usage_entry_conversation", lambda s: usage.of_conversation(s, "p", "job_x")),
    "old usage": ("ix_usage_entry_at", lambda s: usage.forget(s, NOW - timedelta(days=300), 500)),
    "old results": ("ix_result_expires_at", lambda s: results.expired(s, NOW - timedelta(days=300), 500)),
}


def fill(store: Store) -> None:
    """20,000 finished jobs with a delivered webhook each, and some live ones of every kind."""
    model = store.add(status="completed", finished_at=NOW, interaction_id="v1_x")
    with store.database.write() as session:
        factories.delivery(session, store.job(model), status="delivered", due_at=None)
        outcome: dict[str, Any] = {"output_text": "Hello."}
        results.add(session, model, 1, outcome=outcome, raw=b"{}", now=NOW, expires_at=NOW)
        session.add(JobInput(job_id=model, turn=1, body=b"{}"))
        session.add(Interaction(token="t", job_id=model, turn=1, attempt=1, created_at=NOW))
        session.flush()
        usage.record(session, [_entry(store.project_id, model)])
        audit.note(session, audit.Actor("key"), "job.submit", project_id=store.project_id, subject=model, now=NOW)
        for table, key in KEYS.items():
            _multiply(session, table, key)
    for number in range(LIVE):
        for status in LIVE_STATUSES:
            store.add(status=status, due_at=NOW, deadline_at=NOW, previous_job_id=f"job_{number}")
    if not store.database.is_sqlite:
        with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")


def _entry(project_id: str, job_id: str) -> dict[str, Any]:
    whose = {"token": "t", "project_id": project_id, "key_id": None, "conversation_id": job_id, "job_id": job_id}
    return whose | {"turn": 1, "kind": "model", "target": "m", "at": NOW} | dict.fromkeys(usage.TOKENS, 1)


def _multiply(session: Session, table: Any, key: str) -> None:
    """Copy the one row of a table many times, under other keys."""
    names = ", ".join(f'"{column.name}"' for column in table.__table__.columns if column.name != key)
    name = table.__tablename__
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) "
    copy = f"{numbers}INSERT INTO {name} ({key}, {names}) SELECT 'copy_' || n.i, {names} FROM {name}, n"
    session.execute(sa.text(copy), {"many": FINISHED})


def plan(store: Store, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    with store.database.engine.connect() as connection:
        return "\n".join(map(str, connection.exec_driver_sql(explain + statement, parameters)))


@pytest.fixture
def filled(fresh_store: Store) -> Store:
    fill(fresh_store)
    return fresh_store


def test_every_claim_uses_its_index_whatever_lies_behind_it(filled: Store) -> None:
    wrong = {}

    for name, (index, call) in CALLS.items():
        with overheard(filled.database.engine) as said, filled.database.write() as session:
            call(session)
            session.rollback()
        counts = [one for one in said[1:] if one[0].startswith("SELECT count(")]
        for found in [plan(filled, *one) for one in (said[0], *counts)]:
            scans = [line for line in found.splitlines() if _is_whole_scan(line)]
            if not re.search(index, found) or scans:
                wrong[name] = found

    assert wrong == {}


def _is_whole_scan(line: str) -> bool:
    """A walk over a whole table: SQLite says `SCAN job`, without an index, PostgreSQL `Seq Scan on job`."""
    tables = [table.__tablename__ for table in KEYS]
    walks = [f"SCAN {table}" for table in tables] + [f"Seq Scan on {table}" for table in tables]
    return any(walk in line for walk in walks) and "INDEX" not in line
