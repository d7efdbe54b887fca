"""Holding a create until its interaction has ended: not longer than the settings say, nor than its client waits."""

import asyncio
from functools import partial
from time import monotonic

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from api.auth import Caller
from api.desk import Desk
from api.gemini import act, manners
from api.gemini.act import Act
from api.gemini.names import Name
from worker.errors import Unavailable

REFUSALS = {400, 403, 404, 413, 416, 422}


async def until_ended(desk: Desk, request: Request, name: Name, who: Caller, within_s: float) -> Act | None:
    """The act as soon as it has ended; None: the time is over.

    Raises ClientDisconnect where nobody waits any more, Unavailable where the process is leaving, and Unauthenticated
    where the caller's key ends meanwhile.
    """
    gone = asyncio.ensure_future(_gone(request))
    deadline = monotonic() + within_s
    try:
        with desk.watch.waiting(name.job_id, who.key_id) as waiter:
            while True:
                seen = await desk.read(
                    partial(act.load, name=name, project_id=who.project_id, now=desk.context.clock())
                )
                if seen.has_ended:
                    return seen
                if deadline <= monotonic():
                    return None
                waiter.seen = seen.job.sequence
                moved = asyncio.ensure_future(waiter.moved(deadline - monotonic()))
                await asyncio.wait({moved, gone}, return_when=asyncio.FIRST_COMPLETED)
                if moved.done():
                    moved.result()
                moved.cancel()
                if gone.done():
                    raise ClientDisconnect
                if desk.watch.is_leaving():
                    raise Unavailable("this process is leaving; the interaction goes on")
    finally:
        gone.cancel()


async def until_over(desk: Desk, name: Name, who: Caller, within_s: float) -> Act:
    """The act as soon as nothing of it will change, else as it is when the time is over; raises NotFound."""
    deadline = monotonic() + within_s
    with desk.watch.waiting(name.job_id, who.key_id) as waiter:
        while True:
            seen = await desk.read(partial(act.load, name=name, project_id=who.project_id, now=desk.context.clock()))
            waiter.seen = seen.job.sequence
            left_s = deadline - monotonic()
            if seen.has_ended or left_s <= 0:
                return seen
            if not await waiter.moved(left_s):
                deadline = 0.0


def refusal(seen: Act) -> Response | None:
    """The upstream's own refusal of a create, as it gave it: only one that nobody would send again."""
    error = seen.job.error or {}
    told = error.get("upstream") or {}
    status = told.get("status")
    if error.get("code") != "upstream_rejected" or status not in REFUSALS:
        return None
    return manners.error(status, told.get("code") or "invalid_request", told.get("message") or error["message"])


async def _gone(request: Request) -> None:
    """Ends when the client hangs up: the body has been read, nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
