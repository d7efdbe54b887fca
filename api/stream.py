"""Server-sent events: a job's stored events, from any sequence number on, until its terminal one; live ones between.

Stored ones are read from the rows themselves, so none is lost: what wakes a stream only says that there may be more.
Live ones come from upstream while the job runs and are best effort.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import cast

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from api.auth import Caller
from api.desk import Desk
from api.headers import LastEvent
from api.history import MAX_BYTES, Piece, Reset
from api.live import AT_ONCE_BYTES, Start, Watcher
from api.waits import Waiter
from worker.errors import Unauthenticated, Unavailable
from worker.telemetry import count

ROUNDS = 1 + MAX_BYTES // AT_ONCE_BYTES
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RECONNECT = b"retry: 2000\n\n"
HEARTBEAT = b": still here\n\n"
LIVE = re.compile(r"step\.[a-z_.]{1,40}", re.ASCII)
"""The types of upstream events that are passed on."""


class NotRead(Exception):
    """The client takes nothing any more."""


class EventStream(StreamingResponse):
    """Ends its events when the client goes away, has no key any more, or takes nothing for `patience_s`."""

    def __init__(self, content: AsyncGenerator[bytes], patience_s: float) -> None:
        super().__init__(content, headers=HEADERS, media_type=MEDIA_TYPE)
        self._patience_s = patience_s

    async def stream_response(self, send: Send) -> None:
        """Send the events; whatever ends that, the stream's place is free at once and not when somebody collects it."""

        async def patiently(message: Message) -> None:
            try:
                async with asyncio.timeout(self._patience_s):
                    await send(message)
            except TimeoutError:
                raise NotRead from None

        async with aclosing(cast("AsyncGenerator[bytes]", self.body_iterator)):
            try:
                await super().stream_response(patiently)
            except NotRead:
                # The server sees an answer without an end and closes the connection: the client may resume.
                count("nightdesk_streams_not_read_total")
            except Unauthenticated:
                # The answer has begun: whoever comes back is told why.
                count("nightdesk_auth_failures_total", reason="ended")
                await patiently({"type": "http.response.body", "body": b"", "more_body": False})


async def follow(desk: Desk, job_id: str, who: Caller, last: LastEvent) -> AsyncGenerator[bytes]:
    """The events after the last one seen, as they happen, and live ones between; ends with the terminal one.

    It ends when the process leaves, too: whoever is cut off goes on by `Last-Event-ID`, here or on another process.
    Raises Unauthenticated where the caller's key ends.
    """
    with (
        desk.streams.places.place(who.project_id),
        desk.watch.waiting(job_id, who.key_id) as waiter,
        desk.live.watching(job_id, waiter.ring) as watcher,
    ):
        yield RECONNECT
        reader = _Reader(desk, waiter, watcher, last)
        while not reader.is_over:
            for frames in reader.live():
                yield frames
            if waiter.has_moved:
                for frames in await reader.stored():
                    yield frames
            elif not reader.is_behind and not await waiter.moved(reader.patience_s):
                if desk.watch.is_leaving():
                    return
                watcher.retry()
                reader.spoke()
                yield HEARTBEAT


class _Reader:
    """What one client has seen of its job, and what it is to be sent next."""

    def __init__(self, desk: Desk, waiter: Waiter, watcher: Watcher, last: LastEvent) -> None:
        self._desk = desk
        self._waiter = waiter
        self._watcher = watcher
        self._after = last.sequence
        self._shown = last.live_id
        self._clock = asyncio.get_running_loop().time
        self._spoke_at = self._clock()
        self.is_over = False
        """Whether nothing will follow: the job has ended, or is deleted, or the database is away."""
        self.is_behind = False
        """Whether there are more live events than were sent at once."""

    @property
    def patience_s(self) -> float:
        """How long the stream may yet be silent."""
        return self._spoke_at + self._desk.streams.heartbeat_s - self._clock()

    def spoke(self) -> None:
        """Note that something is sent."""
        self._spoke_at = self._clock()

    def live(self) -> Iterator[bytes]:
        """What was told upstream before the job moved: at most all that is kept, so that a slow client gets on."""
        self.is_behind = True
        for _ in range(ROUNDS):
            pieces = self._watcher.take()
            if not pieces:
                self.is_behind = False
                return
            if frames := b"".join(live_frames(pieces, self._after, self._watcher.upstream_id)):
                self.spoke()
                yield frames

    async def stored(self) -> Sequence[bytes]:
        """The job's next events; sees to it that what runs then is watched."""
        self._waiter.has_moved = False
        try:
            seen = await self._desk.rounds.next(self._waiter.job_id, self._after)
        except Unavailable:
            self.is_over = True
            return ()
        if seen.frames:
            self.spoke()
        # Another interaction began, of which nothing was shown.
        self._shown = None if seen.has_started else self._shown
        self._after = self._waiter.seen = seen.last
        self._waiter.has_moved |= seen.has_more
        self._watcher.attend(seen.runs, Start(self._shown))
        self.is_over = seen.is_over
        return seen.frames


def live_frames(pieces: Iterable[Piece | Reset], sequence: int, upstream_id: str) -> Iterator[bytes]:
    """Upstream events on the wire, those that tell steps; the others are told by what is stored."""
    for piece in pieces:
        line = b"" if piece.id is None else b"id: %d.%s\n" % (sequence, piece.id.encode())
        if isinstance(piece, Reset):
            head = orjson.dumps({"interaction_id": upstream_id, "truncated": piece.is_truncated})
            yield b'%sevent: reset\ndata: %s,"steps":%s}\n\n' % (line, head[:-1], piece.steps)
        elif LIVE.fullmatch(piece.type):
            data = piece.data.replace(b"\n", b"\ndata: ")
            yield b"%sevent: %s\ndata: %s\n\n" % (line, piece.type.encode(), data)
