"""Retired ids where somebody still counts on them: in the catalog's override, in paused gates, in jobs that wait.

Looked for when something starts, and told in words; what becomes of a job is decided when it is started.
"""

from collections.abc import Iterator

from sqlmodel import Session

from worker.database import Database
from worker.errors import Invalid
from worker.gemini.catalog import Catalog
from worker.store import gates, stats
from worker.store.stats import Waiting

MOST_TOLD = 20


def doubts(catalog: Catalog, database: Database) -> list[str]:
    """What there is to tell an operator, a sentence each, MOST_TOLD at most; raises Unavailable."""
    with database.read() as session:
        told = [*catalog.doubts(), *_gates(catalog, session), *_jobs(catalog, session)]
    more = [f"and {len(told) - MOST_TOLD + 1} more"] if len(told) > MOST_TOLD else []
    return told[: MOST_TOLD - 1] + more if more else told


def doubt(catalog: Catalog, target: str) -> str | None:
    """Why an operator may have meant another target than this; None: there is no reason to think so."""
    used = catalog.replacement(target)
    if used is not None:
        return f"{target} is retired: jobs for it run as {used}"
    if catalog.knows(target):
        return None
    near = catalog.near(target)
    return f"the catalog knows no {target}" + (f"; did you mean {near}?" if near else "")


def _gates(catalog: Catalog, session: Session) -> Iterator[str]:
    for gate in gates.all_gates(session):
        if gate.paused and gate.target not in (gates.KEY, gates.POLL):
            why = doubt(catalog, gate.target)
            if why is not None:
                yield f"the gate of {gate.target} is paused: {why}"


def _jobs(catalog: Catalog, session: Session) -> Iterator[str]:
    for waiting in stats.waiting(session):
        used = _used(catalog, waiting)
        if used != waiting.target:
            fate = f"they will run as {used}" if used else "they will fail, as strict_model asks"
            yield f"{waiting.target} is retired, and jobs wait for it ({waiting.jobs}): {fate}"


def _used(catalog: Catalog, waiting: Waiting) -> str | None:
    try:
        return catalog.resolve(waiting.kind, waiting.target, strict=waiting.strict_model).id
    except Invalid:
        return None
