"""Server-sent events: a job's stored events, from any sequence number on, until its terminal one.

A stream reads the rows themselves, so none is lost: what wakes it only says that there may be more.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import orjson
from fastapi.responses import StreamingResponse
from sqlmodel import Session
from starlette.types import Send

from api.desk import Desk
from worker.document import stamp
from worker.errors import Unavailable
from worker.models import Event
from worker.states import TERMINAL
from worker.store import events

AT_ONCE = 500
RECONNECT = b"retry: 2000\n\n"
HEARTBEAT = b": still here\n\n"


class EventStream(StreamingResponse):
    """Ends its events when the client goes away, also while one of them is being sent."""

    async def stream_response(self, send: Send) -> None:
        """Send the events; whatever ends that, the stream's place is free at once and not when somebody collects it."""
        async with aclosing(cast("AsyncGenerator[bytes]", self.body_iterator)):
            await super().stream_response(send)


def render(event: Event) -> dict[str, Any]:
    """An event as its owner sees it."""
    return {
        "id": event.id,
        "object": "event",
        "type": event.type,
        "job_id": event.job_id,
        "sequence": event.sequence,
        "created_at": stamp(event.created_at),
        "data": event.data,
    }


def frame(event: Event) -> bytes:
    """An event on the wire; its id is what a client resumes after."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.type.encode(), orjson.dumps(render(event)))


async def follow(desk: Desk, job_id: str, after: int) -> AsyncGenerator[bytes]:
    """The events after a sequence number, as they happen; ends with the terminal one, or when the process leaves.

    Whoever is cut off goes on by `Last-Event-ID`, here or on another process.
    """
    with desk.streams.place():
        yield RECONNECT
        async with desk.watch.waiting(job_id) as waiter:
            while True:
                try:
                    found, is_over = await desk.read(partial(_next, job_id=job_id, after=after))
                except Unavailable:
                    return
                for event in found:
                    yield frame(event)
                    after = event.sequence
                if is_over:
                    return
                waiter.seen = after
                if len(found) < AT_ONCE and not await waiter.moved(desk.streams.heartbeat_s):
                    if desk.watch.is_leaving():
                        return
                    yield HEARTBEAT


def _next(session: Session, *, job_id: str, after: int) -> tuple[list[Event], bool]:
    """The next events, and whether none will follow them: the job has ended and they are its last, or it is deleted."""
    found = events.of_job(session, job_id, after=after, limit=AT_ONCE)
    last = found[-1].sequence if found else after
    glance = events.glances(session, [job_id]).get(job_id)
    return found, glance is None or (glance.status in TERMINAL and last >= glance.sequence)
