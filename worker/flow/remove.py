"""Remove: forgetting a finished job everywhere, for its owner or when its retention ends."""

from datetime import datetime, timedelta
from time import monotonic

from sqlmodel import Session

from worker.context import Context
from worker.errors import ArtifactStoreError, Conflict, NotFound
from worker.flow import cancel, usage
from worker.models import Leftover
from worker.retry import LATE_USAGE_S, LEFT, ORPHANED
from worker.states import TERMINAL
from worker.store import audit, interactions, jobs, leftovers, removals
from worker.store.audit import Actor
from worker.telemetry import log, step

LEFT_FOR = timedelta(minutes=2)
"""How long whoever removed a job has for what is outside the database, before the sweep tries."""

CLEAR_S = 10.0
"""How long they wait for it: what is more than that is left to the sweep, and all the rest after the first failure."""

LOOKS = 2
"""How often it is asked again, within half a minute, what a deleted job used: to delete and not to pay is no quota."""

MAX_TRIES = 100
"""About two weeks, and then the upstream's own retention is not far."""


def job(context: Context, project_id: str, job_id: str, by: Actor | None = None) -> None:
    """Delete a finished job, its result, artifacts, deliveries' bodies and the interaction upstream.

    Raises NotFound, and Conflict while it has not ended or another job waits for it or runs on it. The rows go first,
    in one transaction that leaves a note of what is outside the database: the sweep tries what cannot be removed now.
    """
    with step("job.remove", job_id=job_id):
        now = context.clock()
        with context.database.write() as session:
            # Locked, so that whoever submits a job that builds on this one comes before the check or finds nothing.
            found = jobs.locked(session, job_id)
            if found is None or found.project_id != project_id:
                raise NotFound("no such job")
            _check(found.status, is_needed=jobs.dependents(session, job_id))
            owing = usage.owe(session, found, now)
            outside = [
                (leftovers.OWING if name in owing else leftovers.INTERACTION, name)
                for name in interactions.upstream_ids(session, job_id)
            ]
            if not leftovers.is_left(session, f"{job_id}/"):
                outside.insert(0, (leftovers.ARTIFACTS, f"{job_id}/"))
            left = leftovers.add(session, outside, now + LEFT_FOR)
            removals.job(session, job_id)
            audit.note(session, by, audit.DELETED, project_id=project_id, subject=job_id, now=now)
        give_up = monotonic() + CLEAR_S
        for one in left:
            if not clear(context, one) or monotonic() > give_up:
                return


def clear(context: Context, left: Leftover) -> bool:
    """Remove what was left outside the database; what cannot be removed now is tried again, for some weeks.

    Whether it is gone.
    """
    done = _is_removed(context, left)
    now = context.clock()
    with context.database.write() as session:
        if done or left.tries >= MAX_TRIES:
            leftovers.gone(session, left.name)
            if left.kind == leftovers.ORPHAN:
                _follow(session, left.name.removeprefix(leftovers.ORPHAN_OF), now)
        else:
            due_at = _next(context, left, now)
            leftovers.later(session, left.name, tries=left.tries + 1, due_at=due_at)
    if not done:
        log.warning("job.remove", kind=left.kind, name=left.name, tries=left.tries, outcome="left")
    return done


def _next(context: Context, left: Leftover, now: datetime) -> datetime:
    if left.kind == leftovers.OWING and left.tries < LOOKS:
        return now + timedelta(seconds=LATE_USAGE_S[left.tries])
    schedule = ORPHANED if left.kind == leftovers.ORPHAN else LEFT
    return schedule.next_time(left.tries, now, context.chance())


def _follow(session: Session, upstream_id: str, now: datetime) -> None:
    """An orphan that was stopped goes with its job: where that is deleted already, nobody else would see to it."""
    if interactions.by_upstream_id(session, upstream_id) is None and not leftovers.is_left(session, upstream_id):
        leftovers.add(session, [(leftovers.INTERACTION, upstream_id)], now + LEFT_FOR)


def _is_removed(context: Context, left: Leftover) -> bool:
    if left.kind == leftovers.OWING and not usage.late(context, left.name) and left.tries < LOOKS:
        return False
    if left.kind in (leftovers.INTERACTION, leftovers.OWING):
        return context.gemini.delete(left.name)
    if left.kind == leftovers.ORPHAN:
        return context.gemini.cancel(left.name.removeprefix(leftovers.ORPHAN_OF)).kind in cancel.ANSWERED
    try:
        context.artifacts.remove(left.name)
    except ArtifactStoreError:
        return False
    return True


def _check(status: str, *, is_needed: bool) -> None:
    if status not in TERMINAL:
        raise Conflict(f"the job is {status}")
    if is_needed:
        raise Conflict("another job waits for this one or runs on it")


def artifacts(context: Context, job_ids: list[str], give_up: float) -> list[str]:
    """Remove the artifacts of jobs whose results end; gives back those that this is done for or noted to be done.

    Until `give_up`, or the first that cannot be removed: that is left to the sweep, and holds up the next no longer.
    """
    done = list[str]()
    for job_id in job_ids:
        done.append(job_id)
        try:
            context.artifacts.remove(f"{job_id}/")
        except ArtifactStoreError as error:
            log.warning("prune", job_id=job_id, error=str(error))
            _leave(context, job_id)
            break
        if monotonic() > give_up:
            break
    return done


def _leave(context: Context, job_id: str) -> None:
    now, name = context.clock(), f"{job_id}/"
    with context.database.write() as session:
        # Locked: whoever removes the job leaves the same note.
        if jobs.locked(session, job_id) is not None and not leftovers.is_left(session, name):
            leftovers.add(session, [(leftovers.ARTIFACTS, name)], now + LEFT_FOR)
