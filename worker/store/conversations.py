"""Conversations: jobs that build on one another, read as a thread; and those that wait on what will not last."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from worker.models import STARTABLE, SWEPT, Job, JobInput, Result
from worker.states import TERMINAL, Status


class Summary(NamedTuple):
    """A conversation as a whole; `last_ended_at` is the end of the newest job that can be built on."""

    created_at: datetime
    job_count: int
    last_ended_at: datetime | None


def summary(session: Session, project_id: str, conversation_id: str) -> Summary | None:
    """A project's conversation; None where it has none of this name."""
    mine = _mine(project_id, conversation_id)
    row = session.execute(sa.select(sa.func.min(col(Job.created_at)), sa.func.count()).where(*mine)).one()
    if not row[1]:
        return None
    newest = sa.select(col(Job.finished_at)).where(
        *mine, col(Job.status).in_(TERMINAL), col(Job.interaction_id).is_not(None)
    )
    ended_at = session.execute(newest.order_by(col(Job.id).desc()).limit(1)).scalar_one_or_none()
    return Summary(row[0], row[1], ended_at)


def page(session: Session, project_id: str, conversation_id: str, *, after: str | None, limit: int) -> list[Job]:
    """Up to `limit` jobs of a conversation, oldest first, newer than the job `after`."""
    mine = sa.select(Job).where(*_mine(project_id, conversation_id))
    if after:
        mine = mine.where(col(Job.id) > after)
    return list(session.scalars(mine.order_by(col(Job.id)).limit(limit)))


def _mine(project_id: str, conversation_id: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """With the project put so that no index offers it: a walk along all that it has would look as good to SQLite."""
    return col(Job.conversation_id) == conversation_id, sa.func.coalesce(col(Job.project_id), "") == project_id


def inputs(session: Session, job_ids: list[str], most: int) -> dict[str, bytes]:
    """The first requests of these jobs, those of up to `most` bytes, by job."""
    asked = sa.select(col(JobInput.job_id), col(JobInput.body)).where(
        col(JobInput.job_id).in_(job_ids), col(JobInput.turn) == 1, sa.func.length(col(JobInput.body)) <= most
    )
    return {row.job_id: row.body for row in session.execute(asked)}


def outcomes(session: Session, turns: list[tuple[str, int]], most: int) -> dict[str, tuple[bytes, datetime]]:
    """What each of these (job, turn) gave, where that has up to `most` bytes, and when it expires, by job."""
    # By job first: SQLite looks pairs up by walking along the whole table.
    place, of_jobs = sa.tuple_(col(Result.job_id), col(Result.turn)), {job_id for job_id, _ in turns}
    mine = (col(Result.job_id).in_(of_jobs), place.in_(turns), sa.func.length(col(Result.outcome)) <= most)
    given = sa.select(col(Result.job_id), col(Result.outcome), col(Result.expires_at)).where(*mine)
    return {row.job_id: (row.outcome, row.expires_at) for row in session.execute(given)}


def outwaited(session: Session, before: datetime, limit: int) -> list[Job]:
    """Scheduled jobs that build on one that ended by `before`."""
    return [row[0] for row in session.execute(_waiting(SWEPT, Status.SCHEDULED, before).limit(limit))]


def untold(session: Session, before: datetime, note: str, limit: int) -> list[tuple[Job, datetime]]:
    """Jobs that wait and build on one that ended by `before`, with that end; without those that bear this note."""
    places = ((SWEPT, Status.SCHEDULED), (STARTABLE, Status.QUEUED))
    is_told = sa.cast(col(Job.notes), sa.String).contains(note, autoescape=True)
    waiting = [_waiting(index, status, before).where(~is_told).limit(limit) for index, status in places]
    return [(row[0], row[1]) for statement in waiting for row in session.execute(statement)]


def _waiting(index: str, status: Status, before: datetime) -> sa.Select[Job, datetime | None]:
    """Through the partial index whose predicate is `index`, and which holds none but live jobs."""
    previous = aliased(Job)
    waiting = sa.select(Job, col(previous.finished_at)).join(previous, col(previous.id) == col(Job.previous_job_id))
    return waiting.where(
        sa.text(f"job.{index}"), col(Job.status) == status, col(Job.turn) == 1, col(previous.finished_at) <= before
    )
