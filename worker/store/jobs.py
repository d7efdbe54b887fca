"""Reading jobs: one, a page, those that wait for another, and the counts that limits and metrics rest on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from worker import ids
from worker.models import IN_FLIGHT, STARTABLE, SWEPT, Job, JobInput, Kind
from worker.states import TERMINAL, Status
from worker.store import rows


@dataclass(frozen=True, slots=True)
class Filters:
    """What `GET /v1/jobs` can ask for; empty fields ask for nothing."""

    statuses: Sequence[str] = ()
    kind: Kind | None = None
    target: str | None = None
    priority: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    conversation_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def are_sought(self) -> bool:
        """Whether no index leads to what they ask for: jobs are looked at one after another."""
        is_any = bool(self.kind or self.priority is not None or self.metadata or self.labels)
        return is_any or len(set(self.statuses)) > 1


def get(session: Session, job_id: str, project_id: str | None = None) -> Job | None:
    """The job; None where it does not exist or belongs to another project than the one named."""
    job = session.get(Job, job_id, populate_existing=True)
    return job if job and project_id in {None, job.project_id} else None


def locked(session: Session, job_id: str) -> Job | None:
    """The job, kept as it is by anyone else until the end of the transaction; None where it does not exist."""
    statement = sa.select(Job).where(col(Job.id) == job_id).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()


def lock(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """These jobs, those that exist, kept as they are by anyone else until the end of the transaction."""
    # In one order, so that two who lock several never wait for each other.
    statement = sa.select(Job).where(col(Job.id).in_(job_ids)).order_by(col(Job.id)).with_for_update()
    return {job.id: job for job in session.scalars(statement.execution_options(populate_existing=True))}


def set_usage(session: Session, sums: Mapping[str, dict[str, Any] | None]) -> None:
    """What these jobs have used; no status changes by it, so that it may come after their end."""
    if not sums:
        return
    table = Job.__table__.c  # type: ignore[attr-defined]
    given = rows.given(session, [table.id, table.usage], [{"id": name, "usage": sum_} for name, sum_ in sums.items()])
    statement = sa.update(Job).where(col(Job.id) == given.c.id).values(usage=given.c.usage)
    session.execute(statement)


def several(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """These jobs, those that exist, by id."""
    return {job.id: job for job in session.scalars(sa.select(Job).where(col(Job.id).in_(job_ids)))}


def page(session: Session, project_id: str, filters: Filters, *, before: str | None, limit: int) -> list[Job]:
    """Up to `limit` jobs of a project, newest first, older than the job `before`."""
    # A conversation is short: put so that no index offers it, a walk along all that the project has is not chosen.
    whose = col(Job.project_id) if filters.conversation_id is None else sa.func.coalesce(col(Job.project_id), "")
    statement = sa.select(Job).where(whose == project_id, *_conditions(filters))
    if before:
        statement = statement.where(col(Job.id) < before)
    return list(session.scalars(statement.order_by(col(Job.id).desc()).limit(limit)))


def _conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [
        column == value
        for column, value in (
            (col(Job.kind), filters.kind),
            (col(Job.target), filters.target),
            (col(Job.priority), filters.priority),
            (col(Job.conversation_id), filters.conversation_id),
        )
        if value is not None
    ]
    if filters.statuses:
        conditions.append(col(Job.status).in_(filters.statuses))
    # Ids sort by creation, so that the walk along them begins and ends at the right place.
    if filters.created_after:
        first = ids.first("job", filters.created_after)
        conditions += [col(Job.created_at) > filters.created_after, col(Job.id) >= first]
    if filters.created_before:
        beyond = ids.first("job", filters.created_before, after_ms=1)
        conditions += [col(Job.created_at) < filters.created_before, col(Job.id) < beyond]
    for column, pairs in ((col(Job.user_metadata), filters.metadata), (col(Job.labels), filters.labels)):
        conditions += [column[key].as_string() == value for key, value in pairs.items()]
    return conditions


def body(session: Session, job_id: str, turn: int) -> bytes | None:
    """The create body of one turn, as JSON bytes."""
    found = session.get(JobInput, (job_id, turn))
    return found.body if found else None


def bodies(session: Session, turns: Collection[tuple[str, int]]) -> dict[str, bytes]:
    """The create bodies of these turns, each of another job, by job."""
    # By job first: SQLite looks pairs up by walking along the whole table.
    place, of_jobs = sa.tuple_(col(JobInput.job_id), col(JobInput.turn)), {job_id for job_id, _ in turns}
    mine = sa.and_(col(JobInput.job_id).in_(of_jobs), place.in_(turns))
    return {
        row.job_id: row.body for row in session.execute(sa.select(col(JobInput.job_id), col(JobInput.body)).where(mine))
    }


def followers(session: Session, job_id: str, limit: int) -> list[Job]:
    """Jobs that wait for this one to end."""
    waiting = sa.select(Job).where(col(Job.previous_job_id) == job_id, col(Job.status) == Status.SCHEDULED)
    return list(session.scalars(waiting.where(col(Job.due_at).is_(None)).limit(limit)))


def left_waiting(session: Session, ended: Collection[Status], limit: int) -> list[Job]:
    """Jobs that still wait although their predecessor has ended or is gone."""
    before = aliased(Job)
    is_live = sa.exists().where(col(before.id) == col(Job.previous_job_id), col(before.status).not_in(ended))
    waiting = sa.select(Job).where(
        sa.text(SWEPT),
        col(Job.status) == Status.SCHEDULED,
        col(Job.previous_job_id).is_not(None),
        col(Job.due_at).is_(None),
    )
    return list(session.scalars(waiting.where(~is_live).limit(limit)))


def dependents(session: Session, job_id: str) -> bool:
    """Whether a job that has not ended builds on this one."""
    live = [status for status in Status if status not in TERMINAL]
    statement = sa.select(col(Job.id)).where(col(Job.previous_job_id) == job_id, col(Job.status).in_(live)).limit(1)
    return session.execute(statement).first() is not None


def in_flight(session: Session, target: str | None = None) -> int:
    """How many jobs may have an interaction alive upstream, counted from rows: a counter could leak."""
    statement = sa.select(sa.func.count()).select_from(Job).where(sa.text(IN_FLIGHT))
    if target is not None:
        statement = statement.where(col(Job.target) == target)
    return int(session.execute(statement).scalar_one())


def full_targets(session: Session, limit: int) -> list[str]:
    """Targets with `limit` jobs in flight or more."""
    statement = sa.select(col(Job.target)).where(sa.text(IN_FLIGHT)).group_by(col(Job.target))
    return list(session.scalars(statement.having(sa.func.count() >= limit)))


def in_flight_of(session: Session, project_ids: Collection[str]) -> dict[str, int]:
    """How many jobs of these projects may have an interaction alive upstream; none of a project: it is not named."""
    statement = sa.select(col(Job.project_id), sa.func.count()).group_by(col(Job.project_id))
    # Either the index of all that are in flight serves, or that of a project's statuses.
    mine = statement.where(col(Job.project_id).in_(project_ids), sa.text(IN_FLIGHT))
    return {row[0]: int(row[1]) for row in session.execute(mine)}


def waiting(session: Session, project_id: str | None = None) -> int:
    """How many jobs have yet to be started, whatever each of them waits for, of one project or of all."""
    number = 0
    # Apart, because each has its own small index; SQLite takes that of `due_at` only where something is asked of it.
    due_whenever = sa.or_(col(Job.due_at).is_(None), col(Job.due_at).is_not(None))
    for conditions in ((sa.text(STARTABLE),), (sa.text(SWEPT), col(Job.status) == Status.SCHEDULED, due_whenever)):
        statement = sa.select(sa.func.count()).select_from(Job).where(*conditions)
        if project_id is not None:
            statement = statement.where(col(Job.project_id) == project_id)
        number += int(session.execute(statement).scalar_one())
    return number
