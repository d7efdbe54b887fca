"""Large answers: held to what a process may hold, and sent piece by piece to clients that take them in time.

The server would take in the whole of an answer at once, and keep it for as long as its client likes.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.bulk import Hold
from api.errors import RateLimited
from api.places import SEND_S
from worker.telemetry import count

PIECE_BYTES = 256 * 1024
"""What may be sent at once, and is not counted as held."""

EVENTS = "text/event-stream"


class _Refused(Exception):
    """There is no room for an answer of which nothing is out."""

    def __init__(self, reason: RateLimited) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _NotTaken(Exception):
    """The client takes nothing any more."""


class Outlet:
    """Pure ASGI, inside of what holds a request's bytes. A client takes each piece within `patience_s`, or is cut off.

    Only what was read is refused: what was done is told. Events are small, and have their own patience.
    """

    def __init__(self, app: ASGIApp, patience_s: float = SEND_S) -> None:
        self.app = app
        self.patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, _Answer(scope, send, self.patience_s).send)
        except _Refused as refused:
            answer = errors.of(refused.reason, request_id=scope["state"].get("request_id", ""), limits={})
            await answer(scope, receive, send)
        except _NotTaken:
            # The server sees an answer without an end and closes the connection.
            count("nightdesk_answers_not_read_total")


class _Answer:
    """One answer on its way; the head of one that may be refused waits for its first bytes."""

    def __init__(self, scope: Scope, send: Send, patience_s: float) -> None:
        self._send = send
        self._hold: Hold = scope["state"]["hold"]
        self._patience_s = patience_s
        self._is_read = scope["method"] in {"GET", "HEAD"}
        self._is_events = False
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on; raises _Refused and _NotTaken, which end whatever makes the others."""
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        body = message.get("body", b"")
        if self._start is not None:
            try:
                self._hold.check(len(body))
            except RateLimited as error:
                raise _Refused(error) from None
            await self._send(self._start)
            self._start = None
        if self._is_events or len(body) <= PIECE_BYTES:
            await self._send(message)
        else:
            self._hold.reach(len(body))
            await self._send_pieces(body, message)

    async def _begin(self, start: Message) -> None:
        # What came has been dealt with.
        self._hold.end()
        headers = Headers(raw=start["headers"])
        self._is_events = headers.get("content-type", "").startswith(EVENTS)
        if self._is_read and not self._is_events and int(headers.get("content-length", "0")) > PIECE_BYTES:
            self._start = start
        else:
            await self._send(start)

    async def _send_pieces(self, body: bytes, message: Message) -> None:
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = end < len(body) or message.get("more_body", False)
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._send({**message, "body": body[start:end], "more_body": more})
            except TimeoutError:
                raise _NotTaken from None
