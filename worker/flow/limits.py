"""What one project may have: its own limits where it has some, else those of the settings for every project."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlmodel import Session

from worker.models import Project
from worker.settings import Settings
from worker.store import jobs, projects


@dataclass(frozen=True, slots=True)
class Limits:
    """None is no limit."""

    queued: int | None = None
    in_flight: int | None = None
    jobs_per_day: int | None = None
    tokens_per_day: int | None = None


def usual(settings: Settings) -> Limits:
    """Those of a project that has none of its own."""
    return Limits(
        queued=settings.max_queued_per_project,
        in_flight=settings.max_in_flight_per_project,
        jobs_per_day=settings.max_jobs_per_day,
        tokens_per_day=settings.max_tokens_per_day,
    )


def of(project: Project | None, otherwise: Limits) -> Limits:
    """Those of a project, with the usual ones where it has none."""
    if project is None:
        return otherwise
    return Limits(
        queued=_first(project.max_queued, otherwise.queued),
        in_flight=_first(project.max_in_flight, otherwise.in_flight),
        jobs_per_day=_first(project.max_jobs_per_day, otherwise.jobs_per_day),
        tokens_per_day=_first(project.max_tokens_per_day, otherwise.tokens_per_day),
    )


def in_flight(session: Session, project_ids: Collection[str], usual_limit: int | None) -> dict[str, int]:
    """How many jobs in flight these projects may have, those that are limited at all."""
    own = projects.in_flight_limits(session, project_ids)
    return own if usual_limit is None else dict.fromkeys(project_ids, usual_limit) | own


def room(session: Session, limits: dict[str, int]) -> dict[str, float]:
    """How many more jobs may be started for each of these projects: counted from rows, so that nothing leaks."""
    running = jobs.in_flight_of(session, limits) if limits else {}
    return {name: max(0, limit - running.get(name, 0)) for name, limit in limits.items()}


def _first(own: int | None, otherwise: int | None) -> int | None:
    return otherwise if own is None else own
