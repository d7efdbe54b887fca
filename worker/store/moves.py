"""The one way a job changes its status: a guarded UPDATE that writes event and webhook outbox beside it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import Job
from worker.states import EVENTS, TERMINAL, Status, may_move
from worker.store import outbox, rows
from worker.store.rows import FRESH

NEXT_SEQUENCE = col(Job.sequence) + 1
"""Numbers the event that is about to be appended."""

AT_THE_END: dict[str, Any] = {"due_at": None, "claim": None, "deadline_at": None, "required_action": None}


@dataclass(frozen=True, slots=True)
class Step:
    """One job of a crowd that moves: the claim that it must be under, if any, and its own values."""

    job_id: str
    claim: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def move_all(
    session: Session,
    steps: Sequence[Step],
    *,
    sources: Collection[Status],
    target: Status,
    now: datetime,
    values: Mapping[str, Any] | None = None,
) -> list[Job]:
    """Move many jobs to `target` as `move` does one, in one statement; gives back those that won their race.

    Every step has values for the same fields; `values` are those of all.
    """
    if not steps:
        return []
    table = Job.__table__.c  # type: ignore[attr-defined]
    own = [table[name] for name in steps[0].values]
    fence = sa.column("held", table.claim.type)
    given = rows.given(
        session,
        [table.id, fence, *own],
        [{"id": step.job_id, "held": step.claim, **step.values} for step in steps],
    )
    changes = _changes(sources, target, now, values) | {column.name: given.c[column.name] for column in own}
    statement = sa.update(Job).where(
        col(Job.id) == given.c.id,
        col(Job.status).in_(sources),
        sa.or_(given.c.held.is_(None), col(Job.claim) == given.c.held),
    )
    moved = list(session.scalars(statement.values(changes).returning(Job), execution_options=FRESH))
    if target in EVENTS:
        outbox.append_all(session, moved, EVENTS[target], now)
    return moved


def move(
    session: Session,
    job_id: str,
    *,
    sources: Collection[Status],
    target: Status,
    now: datetime,
    claim: str | None = None,
    values: Mapping[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
    result_expires_at: datetime | None = None,
) -> Job | None:
    """Move a job to `target` if it is in one of `sources` (and under `claim`, if given); None: the race was lost.

    Writes the event and the deliveries of that move. `outcome` is the result's output, for the webhook's body.
    """
    changes = _changes(sources, target, now, values)
    job = change(session, job_id, statuses=sources, claim=claim, values=changes)
    if job is not None and target in EVENTS:
        outbox.append(session, job, EVENTS[target], now, outcome=outcome, result_expires_at=result_expires_at)
    return job


def _changes(
    sources: Collection[Status], target: Status, now: datetime, values: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a move to `target` sets; raises ValueError where no job may make it."""
    illegal = [source for source in sources if not may_move(source, target)]
    if illegal:
        raise ValueError(f"no job moves from {', '.join(illegal)} to {target}")
    changes: dict[str, Any] = {"status": target, **(values or {})}
    if target in TERMINAL:
        changes = {**AT_THE_END, "finished_at": now, **changes}
    if target in EVENTS:
        changes["sequence"] = NEXT_SEQUENCE
    return changes


def change(
    session: Session,
    job_id: str,
    *,
    statuses: Collection[Status],
    claim: str | None = None,
    values: Mapping[str, Any],
) -> Job | None:
    """Change fields of a job that is in one of `statuses` (and under `claim`, if given); None: it is not, any more."""
    statement = sa.update(Job).where(col(Job.id) == job_id, col(Job.status).in_(statuses))
    if claim is not None:
        statement = statement.where(col(Job.claim) == claim)
    returning = statement.values(dict(values)).returning(Job)
    return session.execute(returning, execution_options=FRESH).scalar_one_or_none()
