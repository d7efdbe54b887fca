"""Connections: how many there may be, and how long a client may take for a request's head or for what it is sent.

What the server would answer in plain text by itself is a problem like any other. Bodies have their time in `body`.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import ClassVar

import orjson
from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api import access, errors
from api.errors import Answer
from worker.telemetry import count

HEAD_S = 20.0
"""From the first moment of a connection, or the first byte of a further request, to the end of its head."""

LINGER_S = 2.0
"""How long what comes after a bad head is let come."""

HEAD_BYTES = 32 * 1024
TAKE_S = 60.0
"""How long a client may take nothing of what is sent to it: then the system drops the connection."""

TOO_LARGE = Answer(431, "headers_too_large", "The request's head is too large")

FRAMING = {b"content-length", b"transfer-encoding"}
"""What of a head says how long its body is."""


class HeadTooLarge(Exception):
    """More came than the head of a request may have."""


class Connection(HttpToolsProtocol):
    """One client's; `most` of them in a process. Where more come, who has asked nothing for longest gives way."""

    most = 10_000
    resting: ClassVar[dict["Connection", None]] = {}
    """Those that have no request under way, who has had none for longest first."""

    head_s = HEAD_S
    take_s = TAKE_S
    linger_s = LINGER_S

    _timer: asyncio.TimerHandle | None = None
    _is_reading_head = True
    _is_repeating = False
    _data = b""
    _rest = b""
    """What the parser has not read yet of what came: it stops where an upgrade is asked for."""

    _head_bytes = 0
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client in, or send it away where there is no room."""
        super().connection_made(transport)
        _limit(transport, self.take_s)
        if len(self.connections) > self.most and not self._make_room():
            self._refuse(errors.UNAVAILABLE, "too many connections are open here", "full")
            transport.close()
        else:
            self.resting[self] = None
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._stop()
        self.resting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on reading; whoever has begun a head must come to its end."""
        if self._is_refused:
            return
        self._rest = data
        while self._rest:
            self._data, self._rest = self._rest, b""
            super().data_received(self._data)
        self._data = b""
        if self._is_reading_head and self._timer is None and not self._is_refused:
            self._wait()

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._is_repeating:
            return
        self._is_reading_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        if self._is_repeating:
            return
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. What comes behind a body is none: a proxy may let pass there what it would take away here."""
        if self._is_repeating:
            return
        self._grow(len(name) + len(value))
        if self._is_reading_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        if self._is_repeating:
            return
        self._is_reading_head = False
        self._stop()
        self.resting.pop(self, None)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The next one may begin; bytes that begin none have the time of a head."""
        self._is_reading_head = True
        self.resting.pop(self, None)
        self.resting[self] = None
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read is told so as any other fault.

        A whole request that came before is answered, and what follows is not looked at. Otherwise the rest is let come
        for a moment: to close before that would take the answer back.
        """
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started:
            self.transport.close()
            return
        if self._head_bytes > HEAD_BYTES:
            self._refuse(TOO_LARGE, f"the request's head may have at most {HEAD_BYTES} bytes", "large_head")
        else:
            self._refuse(errors.BAD_REQUEST, msg.removesuffix(".").lower(), "unreadable")
        self._stop()
        self.transport.write_eof()
        self._timer = self.loop.call_later(self.linger_s, self.transport.abort)

    def _unsupported_upgrade_warning(self) -> None:
        """Whoever asks for an upgrade is answered without one, and may well have sent a body: Java's client does.

        The parser takes all that follows for another protocol's, so that another one goes on behind the same head.
        """
        error = sys.exception()
        self._rest = self._data[error.args[0] :] if isinstance(error, HttpParserUpgrade) else b""
        self.parser, self._is_repeating = HttpRequestParser(self), True
        framing = [f"{name.decode()}: {value.decode()}" for name, value in self.headers if name in FRAMING]
        self.cycle.more_body = bool(framing)
        self.parser.feed_data("\r\n".join(["POST / HTTP/1.1", *framing, "", ""]).encode())
        self._is_repeating = False

    def _make_room(self) -> bool:
        """End the connection that has had no request for longest; whether there is one."""
        for other in self.resting:
            if other.cycle is None or other.cycle.response_complete:
                count("nightdesk_connections_refused_total", reason="made_room")
                del self.resting[other]
                other.transport.abort()
                return True
        return False

    def _grow(self, number: int) -> None:
        self._head_bytes += number
        if self._head_bytes > HEAD_BYTES:
            raise HeadTooLarge

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.head_s, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # It is being answered, and has begun to ask for more meanwhile.
            self._wait()
            return
        count("nightdesk_connections_refused_total", reason="slow_head")
        self.transport.abort()

    def _refuse(self, answer: Answer, detail: str, reason: str) -> None:
        count("nightdesk_connections_refused_total", reason=reason)
        request_id = access.new_id()
        body = orjson.dumps(errors.document(answer, detail, request_id=request_id))
        told = {
            access.HEADER: request_id,
            "content-type": errors.MEDIA_TYPE,
            "content-length": str(len(body)),
            "connection": "close",
        }
        told |= {"x-content-type-options": "nosniff", "cache-control": "no-store"}
        if answer is errors.UNAVAILABLE:
            told["retry-after"] = str(errors.UNAVAILABLE_RETRY_S)
        head = b"".join(f"{name}: {value}\r\n".encode() for name, value in told.items())
        self.transport.write(STATUS_LINE[answer.status] + head + b"\r\n" + body)
        self._is_refused = True


def limited(most: int, **times_s: float) -> type[Connection]:
    """Connections of which there may be so many; `head_s`, `take_s` and `linger_s` may differ."""
    return type("Limited", (Connection,), {"most": most, "resting": {}, **times_s})


def _limit(transport: asyncio.Transport, take_s: float) -> None:
    """Let the system drop a client that takes nothing: it alone sees every answer out, also of a closed connection."""
    peer = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if peer is not None and option is not None and peer.family in {socket.AF_INET, socket.AF_INET6}:
        with suppress(OSError):
            peer.setsockopt(socket.IPPROTO_TCP, option, int(take_s * 1000))
