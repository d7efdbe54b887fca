"""Owned: what the upstream keeps belongs to the project it was made for; another project is told that there is none."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from worker.errors import Fault, Invalid
from worker.gemini.references import ENVIRONMENT, FILE, Reference, made_by
from worker.store import holdings

ENVIRONMENT_KEPT = timedelta(days=55)
"""Longer than an idle environment lasts: a project must not lose one that it goes on using elsewhere."""
FILE_KEPT = timedelta(hours=48)


def owners(session: Session, references: Iterable[Reference]) -> dict[str, str]:
    """The projects that hold these names, by name; a name with NUL, which no database takes, is held by nobody."""
    return holdings.owners(session, {one.name for one in references if "\x00" not in one.name})


def check(
    references: Iterable[Reference],
    holders: Mapping[str, str],
    project_id: str,
    *,
    may_name_unknown: bool,
    at: str = "",
) -> None:
    """Refuse what another project holds, and what nobody does unless that is allowed; raises Invalid."""
    faults = [
        Fault(at + one.pointer, f"no such {one.kind}; one that Nightdesk did not make needs the scope admin")
        for one in references
        if not _is_allowed(holders.get(one.name), project_id, may_name_unknown=may_name_unknown)
    ]
    if faults:
        raise Invalid(*faults)


def _is_allowed(holder: str | None, project_id: str, *, may_name_unknown: bool) -> bool:
    return may_name_unknown if holder is None else holder == project_id


def keep(session: Session, project_id: str, raw: Mapping[str, Any], base_url: str, now: datetime) -> None:
    """Note that what a run left upstream is its project's."""
    made = made_by(raw, base_url)
    holdings.hold(session, project_id, ENVIRONMENT, made[ENVIRONMENT], now=now, expires_at=now + ENVIRONMENT_KEPT)
    holdings.hold(session, project_id, FILE, made[FILE], now=now, expires_at=now + FILE_KEPT)
