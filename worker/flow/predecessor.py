"""Predecessor: what a job may build on, and what it has from there: the interaction, and the environment it left."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from worker.context import Context
from worker.document import stamp
from worker.errors import Fault, Unavailable
from worker.flow import chain, retention, wake
from worker.flow.end import failure
from worker.flow.retention import Retention
from worker.gemini.catalog import Catalog, Entry
from worker.models import Job
from worker.states import TERMINAL
from worker.store import interactions, jobs, leftovers

ENVIRONMENT = "environment"
UNKNOWN_FAMILY = "unknown"
NEEDY_FAMILY = "antigravity"
NO_ENVIRONMENT = "the previous job leaves no environment to go on in: name one"


def lacks_environment(body: Mapping[str, Any]) -> bool:
    """Whether a request names none although its agent needs one: the previous job may leave it."""
    return str(body.get("agent")).startswith(NEEDY_FAMILY) and body.get(ENVIRONMENT) is None


@dataclass(frozen=True, slots=True)
class Ground:
    """What it takes to judge what a new job builds on."""

    catalog: Catalog
    kept: Retention
    now: datetime


def follow_job(ground: Ground, job: Job, before: Job | None, *, lacks_environment: bool) -> Fault | None:
    """Put a new job into the conversation of the job before; gives back the fault that forbids it, if there is one."""
    if before is None or before.project_id != job.project_id:
        return Fault("/previous_job_id", "no such job")
    job.conversation_id = before.conversation_id
    job.notes = [*job.notes, *ground.kept.notes(before.finished_at, ground.now)]
    if before.status in TERMINAL:
        return _unfit(ground, job, before, lacks_environment=lacks_environment)
    is_hopeless = (
        lacks_environment and before.kind == "agent" and not _takes(ground.catalog.entry(before.kind, before.target))
    )
    return Fault(f"/{ENVIRONMENT}", NO_ENVIRONMENT) if is_hopeless else None


def _unfit(ground: Ground, job: Job, before: Job, *, lacks_environment: bool) -> Fault | None:
    kept = ground.kept
    if before.interaction_id is None:
        return Fault("/previous_job_id", f"that job ended {before.status} without an interaction to build on")
    if kept.is_over(before.finished_at, ground.now):
        return Fault("/previous_job_id", "that job's interaction is past the upstream's retention")
    if job.run_at is not None and before.finished_at is not None and kept.is_over(before.finished_at, job.run_at):
        ends_at = stamp(kept.ends_at(before.finished_at))
        return Fault("/run_at", f"is after {ends_at}, until when that job's interaction is kept upstream")
    if lacks_environment and before.environment_id is None:
        return Fault(f"/{ENVIRONMENT}", NO_ENVIRONMENT)
    return None


def follow_interaction(ground: Ground, session: Session, job: Job, *, may_name_unknown: bool) -> Fault | None:
    """The same for an interaction: one we know must be the project's own, others only an admin may name."""
    name = job.previous_interaction_id or ""
    known = interactions.by_upstream_id(session, name) if "\x00" not in name else None
    owner = jobs.get(session, known.job_id, job.project_id) if known else None
    if owner is None and (known or "\x00" in name or not may_name_unknown or leftovers.is_left(session, name)):
        return Fault("/previous_interaction_id", "no such interaction")
    if owner is None or known is None:
        return None
    ended_at = owner.finished_at if owner.interaction_id == name else known.created_at
    job.conversation_id = owner.conversation_id
    job.notes = [*job.notes, *ground.kept.notes(ended_at, ground.now)]
    is_gone = ground.kept.is_over(ended_at, ground.now)
    return Fault("/previous_interaction_id", "is past the upstream's retention") if is_gone else None


def inherit(
    context: Context, job: Job, body: Mapping[str, Any], before: Job | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a job's first turn has from the job before, and the error that forbids its start, if there is one."""
    if before is None or before.interaction_id is None:
        return {}, _failure("the previous job is gone")
    if retention.of(context).is_over(before.finished_at, context.clock()):
        return {}, _failure(retention.GONE)
    own = {"previous_interaction_id": before.interaction_id}
    entry = context.catalog.entry(job.kind, job.target)
    if body.get(ENVIRONMENT) is not None or not _takes(entry):
        return own, None
    if before.environment_id is not None:
        return own | {ENVIRONMENT: before.environment_id}, None
    return own, _failure(NO_ENVIRONMENT) if entry.family == NEEDY_FAMILY else None


def catch_up(context: Context, job_ids: Collection[str]) -> None:
    """Release those who began to wait for a job while its end was being written, which did not see them."""
    moved: list[Job] = []
    # What fails here, the sweep does a little later.
    with suppress(Unavailable):
        for job_id in job_ids:
            with context.database.write() as session:
                job = jobs.locked(session, job_id)
                if job is not None and job.status in TERMINAL:
                    moved += chain.release(session, job, context.clock())
    wake.moved(context, moved)


def _failure(message: str) -> dict[str, Any]:
    return failure("previous_job_failed", message, retryable=False)


def _takes(entry: Entry) -> bool:
    """Whether it works in environments; of a customer's own agent that is not known, and it may."""
    return entry.kind == "agent" and (ENVIRONMENT in entry.abilities or entry.family == UNKNOWN_FAMILY)
