"""When results end, for many jobs at once."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Result


def of_jobs(session: Session, turns: Collection[tuple[str, int]]) -> dict[str, datetime]:
    """The end of each (job, turn)'s result, by job, where it has one."""
    wanted = sa.select(col(Result.job_id), col(Result.turn), col(Result.expires_at))
    rows = session.execute(wanted.where(col(Result.job_id).in_({job_id for job_id, _ in turns})))
    return {row.job_id: row.expires_at for row in rows if (row.job_id, row.turn) in turns}
