"""Owned: what the upstream keeps belongs to the project it was made for; another project is told that there is none."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from worker.errors import Fault, Invalid
from worker.gemini.references import ENVIRONMENT, FILE, Reference, made_by
from worker.store import holdings
from worker.store.holdings import Held

Run = tuple[str, Mapping[str, Any]]
"""A project, and the body of an interaction of its that has ended."""

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


def keep(session: Session, runs: Iterable[Run], base_url: str, now: datetime) -> None:
    """Note that what runs left upstream is their projects'."""
    kept = {ENVIRONMENT: now + ENVIRONMENT_KEPT, FILE: now + FILE_KEPT}
    made = [(project_id, made_by(raw, base_url)) for project_id, raw in runs]
    found = [
        Held(name, kind, project_id, kept[kind])
        for project_id, names_by_kind in made
        for kind, names in names_by_kind.items()
        for name in names
    ]
    holdings.hold(session, found, now)
