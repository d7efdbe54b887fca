"""An act as the upstream's stream of events: live while it runs, as far as that goes, and the rest from what it gave.

A stream ends with `data: [DONE]`; one that is cut, or whose process leaves, goes on by `last_event_id` anywhere.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from api.auth import Caller
from api.desk import Desk
from api.gemini import act, media, resource, score
from api.gemini.act import Act
from api.gemini.media import Part
from api.gemini.names import Name
from api.gemini.relay import LostError, Relay
from api.gemini.score import Place
from api.history import Reset
from api.live import Start, Watcher
from api.stream import HEARTBEAT
from api.threads import run_in_threadpool
from worker.errors import NightdeskError, NotFound, Unavailable
from worker.states import Status

AT_ONCE_BYTES = 64 * 1024
Events = Iterable[tuple[Place, dict[str, Any]]]


async def follow(desk: Desk, name: Name, who: Caller, after: Place) -> AsyncGenerator[bytes]:
    """The events after a place, until the act has ended; raises Unauthenticated where the caller's key ends."""
    with (
        desk.streams.places.place(who.project_id),
        desk.watch.waiting(name.job_id, who.key_id) as waiter,
        desk.live.watching(name.job_id, waiter.ring) as watcher,
    ):
        reader = _Reader(watcher, after)
        while not reader.has_ended:
            if waiter.has_moved:
                waiter.has_moved = False
                seen = await _look(desk, name, who.project_id)
                if seen is None:
                    return
                waiter.seen = seen.job.sequence
                async for chunk in _sent(desk, reader.attend(seen)):
                    yield chunk
            if events := reader.live():
                async for chunk in _sent(desk, events):
                    yield chunk
            elif not (reader.has_ended or waiter.has_moved) and not await waiter.moved(desk.streams.heartbeat_s):
                if desk.watch.is_leaving():
                    return
                watcher.retry()
                yield HEARTBEAT
        async for chunk in _rest(desk, reader):
            yield chunk


async def _look(desk: Desk, name: Name, project_id: str) -> Act | None:
    """The act as it is; None where it is deleted, or cannot be asked for now."""
    try:
        return await desk.read(partial(act.load, name=name, project_id=project_id, now=desk.context.clock()))
    except (NotFound, Unavailable):
        return None


async def _rest(desk: Desk, reader: "_Reader") -> AsyncGenerator[bytes]:
    try:
        async for chunk in _sent(desk, await run_in_threadpool(reader.rest)):
            yield chunk
    except NightdeskError:
        return  # an artifact cannot be read now: the client sees a cut stream, and resumes it
    yield score.DONE


class _Reader:
    """What one client has been told, and what it is to be told next."""

    def __init__(self, watcher: Watcher, after: Place) -> None:
        self._watcher = watcher
        self._after = after
        self._relay: Relay | None = None
        self._seen: Act | None = None

    @property
    def has_ended(self) -> bool:
        """Whether there is no more than the rest."""
        return self._seen is not None and self._seen.has_ended

    def attend(self, seen: Act) -> list[tuple[Place, dict[str, Any]]]:
        """Listen to what runs now; gives back what begins a stream, unless that was told."""
        self._seen = seen
        head = resource.head(seen, resource.RUNNING)
        events = [(at, event) for at, event in score.opening(head) if at.step > self._after.step]
        self._after = score.in_run(events[-1][0] if events else self._after, seen.run)
        runs = seen.job.interaction_id if seen.job.status == Status.IN_PROGRESS and seen.is_present else None
        if (runs or "") != self._watcher.upstream_id:
            self._watcher.attend(runs, Start(is_whole=True))
            steps = [step for take in seen.takes for step in resource.steps_of(take.raw)]
            self._relay = Relay(seen.run, len(resource.made_steps(seen, steps))) if runs else None
        return events

    def live(self) -> list[tuple[Place, dict[str, Any]]]:
        """What the upstream has told meanwhile; what it told too long ago is left for the end."""
        while self._relay is not None and (pieces := self._watcher.take()):
            try:
                told = [
                    event
                    for piece in pieces
                    for event in (_lost() if isinstance(piece, Reset) else self._relay.take(piece, self._after))
                ]
            except LostError:
                self._relay = None
                return []
            if told:
                self._after = told[-1][0]
                return told
        return []

    def rest(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """All that was not told yet, once it has ended."""
        assert self._seen is not None, "it has ended"
        media.mark(self._seen)
        body, run = resource.render(self._seen, is_fresh=True), self._seen.run
        return chain(
            score.played(resource.steps_of(body) or _old_steps(body), self._after),
            ((at, event) for at, event in score.closing(body, run) if at > self._after),
        )


def _old_steps(body: dict[str, Any]) -> list[Any]:
    """The outputs of the older schema, which some models still answer with, count as one step."""
    outputs = body.get("outputs")
    return [{"type": "model_output", "content": outputs}] if isinstance(outputs, list) else []


def _lost() -> Iterator[tuple[Place, dict[str, Any]]]:
    raise LostError


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
