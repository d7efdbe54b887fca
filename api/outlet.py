"""Large answers: held to what a process may hold, and sent piece by piece to clients that take them in time.

The server would take in the whole of an answer at once, and keep it for as long as its client likes.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.bulk import Hold
from api.errors import RateLimited
from api.places import SEND_S, Places
from worker.telemetry import count

PIECE_BYTES = 256 * 1024
"""What may be sent at once, and is not counted as held."""


class Outlet:
    """Pure ASGI, inside of what gives a request its id. A client takes each piece within `patience_s`, or is cut off.

    Events are small, and have their own patience.
    """

    def __init__(self, app: ASGIApp, held: Places, patience_s: float = SEND_S) -> None:
        self.app = app
        self.held = held
        self.patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        hold = Hold(self.held, scope.setdefault("state", {}))
        try:
            await self.app(scope, receive, _Answer(scope, receive, send, hold, self.patience_s).send)
        finally:
            hold.end()


class _Answer:
    """One answer on its way; its head waits for its first bytes where it has any."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, hold: Hold, patience_s: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._hold = hold
        self._patience_s = patience_s
        self._start: Message | None = None
        self._is_over = False

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the answer is refused or nobody takes it."""
        if self._is_over:
            return
        if message["type"] == "http.response.start" and _is_large(message):
            self._start = message
            return
        body = message.get("body", b"")
        try:
            self._hold.reach(len(body) if len(body) > PIECE_BYTES else 0)
        except RateLimited as error:
            await self._refuse(error)
            return
        if self._start is not None:
            await self._send(self._start)
            self._start = None
        if len(body) <= PIECE_BYTES:
            await self._send(message)
        else:
            await self._send_pieces(body, message)

    async def _refuse(self, error: RateLimited) -> None:
        """Tell that there is no room; where the answer has begun, leave it without an end: the server closes it."""
        self._is_over = True
        if self._start is not None:
            answer = errors.of(error, request_id=self._scope["state"].get("request_id", ""), limits={})
            await answer(self._scope, self._receive, self._send)

    async def _send_pieces(self, body: bytes, message: Message) -> None:
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = end < len(body) or message.get("more_body", False)
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._send({**message, "body": body[start:end], "more_body": more})
            except TimeoutError:
                self._is_over = True
                count("nightdesk_answers_not_read_total")
                return


def _is_large(start: Message) -> bool:
    length = Headers(raw=start["headers"]).get("content-length", "0")
    return length.isdecimal() and int(length) > PIECE_BYTES
