"""The server's side of a connection, before there is a request: its head must come in time, and be small.

The server that this builds on waits for ever for the end of a head, and keeps as much of one as comes.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api import access, errors
from api.errors import BAD_REQUEST, UNAVAILABLE, UNAVAILABLE_RETRY_S, Answer

HEAD_S = 20.0
HEAD_BYTES = 64 * 1024
TOO_LARGE = Answer(431, "headers_too_large", "The request's head is too large")


class Protocol(HttpToolsProtocol):
    """Closes connections that are silent before their request, and refuses heads and trailers without an end.

    What it refuses itself are problems, as all errors are.
    """

    head_s = HEAD_S

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._wait: asyncio.TimerHandle | None = None
        self._pending_bytes = 0
        self._has_got_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; what brings neither the end of a head nor a piece of a body may not go on for long."""
        self._has_got_on = False
        super().data_received(data)
        self._pending_bytes = 0 if self._has_got_on else self._pending_bytes + len(data)
        if self._pending_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(TOO_LARGE, f"a request's head may have at most {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """The next head on the same connection has as long as the first."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is here; where too many connections are open, they are told so."""
        self._has_got_on = True
        self._stop_waiting()
        is_crowded = self._most is not None and max(len(self.connections), len(self.tasks)) >= self._most
        self.app = _crowded if is_crowded else self.config.loaded_app
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._has_got_on = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(BAD_REQUEST, msg.rstrip(".").lower())

    def _refuse(self, answer: Answer, detail: str) -> None:
        if self.cycle is None or self.cycle.response_complete:
            told = _problem(answer, detail)
            fields = b"".join(b"%s: %s\r\n" % field for field in told.raw_headers)
            self.transport.write(STATUS_LINE[answer.status] + fields + b"\r\n" + bytes(told.body))
        self.transport.close()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._wait = self.loop.call_later(self.head_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    told = _problem(UNAVAILABLE, "too many connections are open here", {"Retry-After": str(UNAVAILABLE_RETRY_S)})
    await told(scope, receive, send)


def _problem(answer: Answer, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error before there is a request: the connection ends with it."""
    request_id = access.new_id()
    told = {access.HEADER: request_id, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    content = errors.document(answer, detail, request_id=request_id)
    return errors.response(content, {**told, "Connection": "close", **(headers or {})})
