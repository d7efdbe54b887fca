"""The ledger: the tokens of each interaction by kind, kept after its job is gone, and their sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from worker.models import UsageEntry
from worker.store import rows

ENTRY = UsageEntry.__table__.c  # type: ignore[attr-defined]
TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "thought_tokens", "tool_use_tokens", "total_tokens")


class Sum(NamedTuple):
    """The tokens of some interactions together, and how many interactions they are."""

    interactions: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    thought_tokens: int
    tool_use_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose entries, and which of them: those of a time, half open, and of one job or conversation if named."""

    project_id: str
    since: datetime | None = None
    until: datetime | None = None
    job_id: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Grouping:
    """What a sum is taken for each of; `newest_first` where greater means later."""

    by: sa.ColumnElement[Any]
    newest_first: bool = False


GROUPINGS = {
    "job": Grouping(ENTRY.job_id, newest_first=True),
    "conversation": Grouping(ENTRY.conversation_id, newest_first=True),
    "day": Grouping(sa.cast(sa.func.date(ENTRY.at), sa.String), newest_first=True),
    "target": Grouping(ENTRY.target),
    "key": Grouping(sa.func.coalesce(ENTRY.key_id, "")),
    "turn": Grouping(ENTRY.turn),
}
"""By whom sums can be asked for; days are those of UTC, and `key` is empty for what was submitted without one."""


def record(session: Session, entries: Sequence[dict[str, Any]]) -> None:
    """Write these entries, each with every column, in one statement; one that was written before is replaced."""
    if not entries:
        return
    given = rows.given(session, ENTRY, entries)
    # The condition tells SQLite where the SELECT ends and the clause about conflicts begins.
    statement = rows.insert_into(session, UsageEntry).from_select(ENTRY.keys(), sa.select(*given.c).where(sa.true()))
    replaced = {name: statement.excluded[name] for name in TOKENS}
    session.execute(statement.on_conflict_do_update(index_elements=["token"], set_=replaced))


def fill(session: Session, token: str, tokens: Mapping[str, int]) -> str | None:
    """Write tokens into an entry that has none yet; gives back its target, or None: there is no such entry."""
    mine = sa.update(UsageEntry).where(ENTRY.token == token, ENTRY.total_tokens == 0).values(dict(tokens))
    returning = mine.returning(ENTRY.target)
    return session.execute(returning).scalar_one_or_none()


def total(session: Session, scope: Scope) -> Sum:
    """The sum over everything in scope."""
    return Sum(*map(int, session.execute(sa.select(*_sums()).where(*_within(scope))).one()))


def of_conversation(session: Session, project_id: str, conversation_id: str) -> Sum:
    """The sum over the jobs of a conversation, those that were deleted meanwhile included."""
    return total(session, Scope(project_id=project_id, conversation_id=conversation_id))


def page(
    session: Session, scope: Scope, group_by: str, *, after: str | int | None, limit: int
) -> list[tuple[Any, Sum]]:
    """Up to `limit` groups beyond the group `after`, in the order of its kind, each with its sum."""
    grouping = GROUPINGS[group_by]
    statement = sa.select(grouping.by, *_sums()).where(*_within(scope)).group_by(grouping.by)
    if after is not None:
        statement = statement.where(grouping.by < after if grouping.newest_first else grouping.by > after)
    ordered = statement.order_by(grouping.by.desc() if grouping.newest_first else grouping.by)
    return [(row[0], Sum(*map(int, row[1:]))) for row in session.execute(ordered.limit(limit))]


def spent(session: Session, project_id: str, since: datetime) -> int:
    """All tokens of a project since then: read from one index."""
    statement = sa.select(sa.func.coalesce(sa.func.sum(ENTRY.total_tokens), 0))
    return int(session.execute(statement.where(ENTRY.project_id == project_id, ENTRY.at >= since)).scalar_one())


def forget(session: Session, before: datetime, limit: int) -> int:
    """Forget entries older than `before`; gives back how many."""
    old = sa.select(ENTRY.token).where(ENTRY.at < before).order_by(ENTRY.at).limit(limit)
    forgotten = session.execute(sa.delete(UsageEntry).where(col(UsageEntry.token).in_(old)))
    return int(getattr(forgotten, "rowcount", 0))


def _sums() -> list[sa.ColumnElement[Any]]:
    return [sa.func.count(), *(sa.func.coalesce(sa.func.sum(ENTRY[name]), 0) for name in TOKENS)]


def _within(scope: Scope) -> list[sa.ColumnElement[bool]]:
    conditions = [ENTRY.project_id == scope.project_id]
    if scope.since is not None:
        conditions.append(ENTRY.at >= scope.since)
    if scope.until is not None:
        conditions.append(ENTRY.at < scope.until)
    if scope.job_id is not None:
        conditions.append(ENTRY.job_id == scope.job_id)
    if scope.conversation_id is not None:
        conditions.append(ENTRY.conversation_id == scope.conversation_id)
    return conditions
