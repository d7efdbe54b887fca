"""Chains: a job that waits for its predecessor is released by its completion and fails with any other end."""

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from worker.models import Job
from worker.states import Status
from worker.store import jobs, moves

AT_ONCE = 500


def release(session: Session, ended: Job, now: datetime) -> list[Job]:
    """Move everybody who waits for an ended job, and who waits for those that fail by it; gives back who moved.

    At most about AT_ONCE in one transaction: the sweep finds the rest.
    """
    followers = jobs.followers(session, ended.id, AT_ONCE)
    if ended.status != Status.COMPLETED:
        return cascade(session, followers, f"the previous job ended {ended.status}", now)
    moved = [_release_one(session, follower, now) for follower in followers]
    return [job for job in moved if job is not None]


def cascade(session: Session, waiting: list[Job], why: str, now: datetime) -> list[Job]:
    """Fail these jobs, which wait for one that did not complete, and who waits for them; gives back who moved."""
    moved: list[Job] = []
    left = deque([(job, why) for job in waiting])
    while left and len(moved) < AT_ONCE:
        job, reason = left.popleft()
        error = {"code": "previous_job_failed", "message": reason, "retryable": False, "upstream": None}
        scheduled, values = {Status.SCHEDULED}, {"error": error}
        failed = moves.move(session, job.id, sources=scheduled, target=Status.FAILED, now=now, values=values)
        if failed is not None:
            moved.append(failed)
            followers = jobs.followers(session, failed.id, AT_ONCE)
            left += [(follower, "the previous job ended failed") for follower in followers]
    return moved


def _release_one(session: Session, follower: Job, now: datetime) -> Job | None:
    scheduled = {Status.SCHEDULED}
    if follower.run_at is not None and follower.run_at > now:
        return moves.change(session, follower.id, statuses=scheduled, values={"due_at": follower.run_at})
    return moves.move(
        session, follower.id, sources=scheduled, target=Status.QUEUED, now=now, values=queued(follower, now)
    )


def queued(job: Job, now: datetime) -> dict[str, Any]:
    """What a job that becomes queued carries: due at once, with its time in the queue counted from now."""
    return {
        "due_at": now,
        "claim": None,
        "deadline_at": now + timedelta(seconds=job.queue_timeout_seconds),
        "sent_at": None,
        "refusals": 0,
        "interaction_id": None,
        "upstream_status": None,
        "polls": 0,
        "thought": None,
        "mark": None,
        "changed_at": None,
        "stalled_at": None,
        "missing": 0,
        "missing_since": None,
        "settle_tries": 0,
        "ended_seen": False,
        "required_action": None,
    }
