"""Fills a database: many finished jobs with all that belongs to them, straight into the tables, and some live ones."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from tests import factories
from worker import ids
from worker.database import Database
from worker.models import Delivery, Event, Interaction, Job, JobInput, Result
from worker.states import Status

AGE = timedelta(days=24)
"""When the first of the finished jobs was made: young enough for nothing to be past its retention."""

EVERY_S = 2
LIVE = {"in_progress": 2_000, "queued": 2_000, "starting": 200, "scheduled": 200, "requires_action": 200}
PENDING = 500
TEMPLATE = "job_template"
RARE_METADATA, RARE_AGENT, RARE_FAILED = 10_000, 100, 1_000
"""One finished job in so many has a given `metadata[run]`, is an agent's, has failed."""

Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Words:
    """What the two databases say differently."""

    numbers: str
    padded: str
    moment: str
    document: str


SQLITE = Words(
    numbers="(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) SELECT i FROM n) AS n",
    padded="printf('%016d', i)",
    moment="strftime('%Y-%m-%d %H:%M:%S', {since} + i * {every}, 'unixepoch') || '.000000'",
    document="json_object",
)
POSTGRESQL = Words(
    numbers="generate_series(1, {many}) AS n(i)",
    padded="lpad(i::text, 16, '0')",
    moment="to_timestamp({since} + i * {every})",
    document="jsonb_build_object",
)


def fill(url: str, project_id: str, finished: int) -> None:
    """So many finished jobs, then LIVE ones and PENDING deliveries."""
    database = Database(url)
    with database.write() as session:
        now = datetime.now(UTC)
        session.add(factories.job(project_id, id=TEMPLATE, finished_at=now, started_at=now, sent_at=now, sequence=1))
    for statement in _copies(SQLITE if database.is_sqlite else POSTGRESQL, finished):
        _execute(url, statement)
    _execute(url, f"DELETE FROM job WHERE id = '{TEMPLATE}'")
    _add_live(database, project_id)
    _execute(url, "VACUUM (ANALYZE)" if not database.is_sqlite else "PRAGMA optimize")
    database.close()


def _copies(words: Words, many: int) -> list[str]:
    began = datetime.now(UTC) - AGE
    since = int(began.timestamp())
    numbers, moment = words.numbers.format(many=many), words.moment.format(since=since, every=EVERY_S)
    own = f"'{ids.new('', began)[1:11]}' || {words.padded}"
    job: Values = {
        "id": f"'job_' || {own}",
        "conversation_id": f"'job_' || {own}",
        "interaction_id": "'v1_' || i",
        "status": f"CASE i % {RARE_FAILED} WHEN 0 THEN 'failed' ELSE 'completed' END",
        "kind": f"CASE i % {RARE_AGENT} WHEN 0 THEN 'agent' ELSE 'model' END",
        "target": f"CASE i % {RARE_AGENT} WHEN 0 THEN 'deep-research-preview-04-2026' ELSE '{factories.MODEL}' END",
        "priority": "i % 3",
        "metadata": f"{words.document}('run', 'r' || (i % {RARE_METADATA}))",
        "labels": f"{words.document}('team', 't' || (i % 10))",
        **dict.fromkeys(("created_at", "started_at", "sent_at", "finished_at", "last_polled_at"), moment),
    }
    names = [column.name for column in Job.__table__.columns]  # type: ignore[attr-defined]
    chosen = ", ".join(job.get(name, f'"{name}"') for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    first = f"INSERT INTO job ({columns}) SELECT {chosen} FROM job, {numbers} WHERE id = '{TEMPLATE}'"
    return [first, *(_copy(words, table, values) for table, values in _PARTS.items())]


_SAME_AS_JOB = {"job_id": "id", "created_at": "finished_at"}
_PARTS: dict[Any, Values] = {
    JobInput: {"job_id": "id", "turn": "1", "body": "{{}}"},
    Interaction: {
        **_SAME_AS_JOB,
        "token": "substr(id, 5)",
        "turn": "1",
        "attempt": "1",
        "sent_at": "finished_at",
        "answered_at": "finished_at",
        "upstream_id": "interaction_id",
        "status": "'completed'",
        "orphan": "false",
    },
    Event: {
        **_SAME_AS_JOB,
        "id": "'evt_' || substr(id, 5)",
        "project_id": "project_id",
        "sequence": "1",
        "type": "'job.completed'",
        "data": "'{{}}'",
        "payload": "{{}}",
    },
    Result: {
        **_SAME_AS_JOB,
        "turn": "1",
        "expires_at": "{later}",
        "has_artifacts": "false",
        "outcome": "{{}}",
        "raw": "{{}}",
    },
    Delivery: {
        **_SAME_AS_JOB,
        "id": "'dlv_' || substr(id, 5)",
        "project_id": "project_id",
        "event_id": "'evt_' || substr(id, 5)",
        "url": "'http://127.0.0.1/hook'",
        "host": "'127.0.0.1'",
        "status": "'delivered'",
        "attempts": "1",
        "delivered_at": "finished_at",
    },
}


def _copy(words: Words, table: Any, values: Values) -> str:
    is_sqlite = words is SQLITE
    later = "datetime(finished_at, '+30 days') || '.000000'" if is_sqlite else "finished_at + interval '30 days'"
    empty = "x'7b7d'" if is_sqlite else "'\\x7b7d'::bytea"
    chosen = [empty if value == "{{}}" else value.format(later=later) for value in values.values()]
    columns = ", ".join(values)
    return f"INSERT INTO {table.__tablename__} ({columns}) SELECT {', '.join(chosen)} FROM job WHERE id <> '{TEMPLATE}'"


def _execute(url: str, statement: str) -> None:
    """Run one statement without the checks that would take most of the time: the copies are right by construction."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(sa.make_url(url).database or "", isolation_level=None)
        connection.execute("PRAGMA synchronous = off")
        connection.execute(statement)
        connection.close()
        return
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as server:
        server.execute("SET session_replication_role = replica")
        server.execute("SET timezone = 'UTC'")
        server.execute(statement.encode())


def _add_live(database: Database, project_id: str) -> None:
    now = datetime.now(UTC)
    due, far = now - timedelta(seconds=1), now + timedelta(days=2)
    rows = [
        factories.job(
            project_id,
            status=Status(status),
            created_at=now,
            due_at=due if status in {"in_progress", "queued"} else far,
            deadline_at=far,
            interaction_id=ids.new("v1") if status == "in_progress" else None,
        ).model_dump()
        for status, number in LIVE.items()
        for _ in range(number)
    ]
    with database.write() as session:
        session.execute(sa.insert(Job), rows)
        of = Job(**rows[0])
        for _ in range(PENDING):
            factories.delivery(session, of, "http://127.0.0.1/hook", due_at=due)
