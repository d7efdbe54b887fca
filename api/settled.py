"""Waiting for a job: `Prefer: wait=N` and `?wait=N`, answered as soon as there is something to answer."""

from functools import partial
from time import monotonic

from api.auth import Caller
from api.desk import Desk
from api.view import Seen, load


async def until_settled(desk: Desk, job_id: str, who: Caller, within_s: float) -> Seen:
    """The job as soon as it has ended or needs an action, else as it is when the time is over.

    Raises NotFound, RateLimited where too many wait already, Unauthenticated where the caller's key ends meanwhile.
    """
    desk.waits.check(who.project_id)
    deadline = monotonic() + within_s
    with desk.waits.place(who.project_id), desk.watch.waiting(job_id, who.key_id) as waiter:
        while True:
            seen = await desk.read(partial(load, job_id=job_id, project_id=who.project_id, now=desk.context.clock()))
            waiter.seen = seen.job.sequence
            left_s = deadline - monotonic()
            if seen.is_settled or left_s <= 0:
                return seen
            # One last look when the time is over: what is shown then is not as old as the wait.
            if not await waiter.moved(left_s):
                deadline = 0.0
