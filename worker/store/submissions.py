"""Writing accepted jobs: rows, inputs, first events and the idempotency key's one outcome."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Idempotency, Job, JobInput
from worker.states import CREATED
from worker.store import outbox, rows

COLUMNS = {name: str(sa.inspect(Job).attrs[name].columns[0].name) for name in Job.model_fields}
"""The columns of a job by attribute."""

BLANK = {name: field.default for name, field in Job.model_fields.items() if not field.is_required()} | {"sequence": 1}
"""What a job begins with: its first event, that it was created, is numbered."""


def reserve(session: Session, entry: Idempotency) -> Idempotency | None:
    """Take an idempotency key; the entry that holds it already, or None: it is the caller's.

    On PostgreSQL a racing request waits here until the first has committed or failed.
    """
    statement = rows.insert_into(session, Idempotency).values(entry.model_dump()).on_conflict_do_nothing()
    if session.execute(statement.returning(col(Idempotency.key))).first() is not None:
        return None
    return session.get(Idempotency, (entry.project_id, entry.path, entry.key), populate_existing=True)


def held(session: Session, project_id: str, path: str, key: str) -> Idempotency | None:
    """What was submitted under this key; None where it was never used, or long ago."""
    return session.get(Idempotency, (project_id, path, key))


def give_back(session: Session, project_id: str, path: str, key: str | None) -> None:
    """Let a key that was just taken be free again."""
    taken = (col(Idempotency.project_id) == project_id, col(Idempotency.path) == path, col(Idempotency.key) == key)
    session.execute(sa.delete(Idempotency).where(*taken))


def new(**values: Any) -> Job:
    """A job that is in no database yet.

    Made as the mapper makes rows that it has read: setting sixty attributes one by one took a third of a submission.
    """
    job: Job = sa.inspect(Job).class_manager.new_instance()
    job.__dict__.update(BLANK | values)
    return job


def insert(session: Session, jobs: Sequence[tuple[Job, bytes]], now: datetime) -> None:
    """Write jobs with their inputs and `job.created` events, in three statements plus one for each that is heard."""
    # Half of the columns have no value yet in any of them.
    made = [vars(job) for job, _ in jobs]
    names = [(name, column) for name, column in COLUMNS.items() if any(row[name] is not None for row in made)]
    rows.insert(session, Job, [{column: row[name] for name, column in names} for row in made])
    rows.insert(session, JobInput, [{"job_id": job.id, "turn": 1, "body": body} for job, body in jobs])
    outbox.append_all(session, [job for job, _ in jobs], CREATED, now)


def previous(session: Session, job_ids: Collection[str]) -> tuple[dict[str, Job], set[str]]:
    """The jobs that new ones build on, by id, and which of them somebody else is changing just now.

    The others are kept from ending until the new ones are committed. Nobody is waited for: whoever changes several jobs
    takes them in an order of its own, and may come to wait for one that is held here.
    """
    if not job_ids:
        return {}, set()
    wanted = sa.select(Job).where(col(Job.id).in_(job_ids)).execution_options(populate_existing=True)
    found = {job.id: job for job in session.scalars(wanted.with_for_update(read=True, skip_locked=True))}
    missed = [job_id for job_id in job_ids if job_id not in found]
    busy = {job.id: job for job in session.scalars(wanted.where(col(Job.id).in_(missed)))} if missed else {}
    return found | busy, set(busy)
