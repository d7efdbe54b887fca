"""An act as the upstream's stream of events: what it gave, from any place on, as soon as it is there.

A stream ends with `data: [DONE]`; one that is cut, or whose process leaves, goes on by `last_event_id` anywhere.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool

from api.desk import Desk
from api.gemini import act, media, resource, score
from api.gemini.act import Act
from api.gemini.media import Part
from api.gemini.names import Name
from api.gemini.score import CREATED, Place
from api.stream import HEARTBEAT
from worker.errors import NightdeskError, NotFound, Unavailable

AT_ONCE_BYTES = 64 * 1024
Events = Iterable[tuple[Place, dict[str, Any]]]


async def follow(desk: Desk, name: Name, project_id: str, after: Place) -> AsyncGenerator[bytes]:
    """The events after a place, until the act has ended."""
    with desk.streams.place():
        with desk.watch.waiting(name.job_id) as waiter:
            while True:
                try:
                    now = desk.context.clock()
                    seen = await desk.read(partial(act.load, name=name, project_id=project_id, now=now))
                except (NotFound, Unavailable):
                    return
                async for chunk in _sent(desk, _opening(seen, after)):
                    yield chunk
                after = max(after, score.UPDATED)
                if seen.has_ended:
                    break
                waiter.seen = seen.job.sequence
                while not await waiter.moved(desk.streams.heartbeat_s):
                    if desk.watch.is_leaving():
                        return
                    yield HEARTBEAT
        try:
            async for chunk in _sent(desk, _rest(await run_in_threadpool(_body, seen), after)):
                yield chunk
        except NightdeskError:
            return  # an artifact cannot be read now: the client sees a cut stream, and resumes it
        yield score.DONE


def _body(seen: Act) -> dict[str, Any]:
    media.mark(seen)
    return resource.render(seen, is_fresh=True)


def _opening(seen: Act, after: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    head = resource.head(seen, resource.RUNNING)
    return ((at, event) for at, event in score.opening(head) if at > after)


def _rest(body: dict[str, Any], after: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    steps = body.get("steps")
    yield from score.played(steps if isinstance(steps, list) else [], max(after, CREATED))
    yield from ((at, event) for at, event in score.closing(body) if at > after)


async def _sent(desk: Desk, events: Events) -> AsyncGenerator[bytes]:
    """Events on the wire, small ones together, media read while they are sent."""
    buffer = bytearray()
    for at, event in events:
        for piece in _frame(at, event):
            if isinstance(piece, Part):
                yield bytes(buffer)
                buffer.clear()
                async for chunk in media.sent([piece], desk.context):
                    yield chunk
            else:
                buffer += piece
        if len(buffer) >= AT_ONCE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _frame(at: Place, event: dict[str, Any]) -> list[bytes | Part]:
    found = media.pieces({**event, "event_id": str(at)})
    return [b"event: %b\ndata: " % str(event["event_type"]).encode(), *found, b"\n\n"]
