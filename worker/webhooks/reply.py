"""What came of one POST to a receiver, as a value: the kind of outcome, the status, a snippet, the wish to wait.

Turns foreign exceptions into kinds. Texts made here never hold a URL; what follows from a reply is decided elsewhere.
"""

import os
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

import aiohttp

from worker.errors import NightdeskError

MAX_SNIPPET = 1024
MAX_RETRY_AFTER_S = 86_400.0

_SECONDS = re.compile(r"[0-9]+")


class ReplyKind(StrEnum):
    """The class of an attempt's outcome, as it is recorded."""

    OK = "ok"
    HTTP = "http"
    DNS = "dns"
    TLS = "tls"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    BUSY = "busy"


# The order matters: aiohttp's timeouts and disconnects share base classes.
_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], ReplyKind, str], ...] = (
    (aiohttp.ConnectionTimeoutError, ReplyKind.TIMEOUT, "no connection in time"),
    (TimeoutError, ReplyKind.TIMEOUT, "no answer in time"),
    ((aiohttp.ClientResponseError, aiohttp.ClientPayloadError), ReplyKind.HTTP, "the answer is not valid HTTP"),
    (aiohttp.ServerDisconnectedError, ReplyKind.CONNECT, "the connection was closed without an answer"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one attempt. `busy`: nothing was sent, try again soon; `refused`: nothing was sent, for good."""

    kind: ReplyKind
    status: int | None = None
    latency_ms: int = 0
    snippet: str = ""
    retry_after_s: float | None = None
    detail: str = ""


class ResolveError(NightdeskError):
    """The receiver's name could not be resolved in time."""


def answered(status: int, body: bytes, retry_after_s: float | None) -> Reply:
    """Build the reply of a receiver that answered: 2xx alone is success, a redirect is a failure like any other."""
    if 200 <= status < 300:
        return Reply(ReplyKind.OK, status, snippet=snippet(body), retry_after_s=retry_after_s)
    detail = f"the receiver answered {status}" + (", redirects are not followed" if 300 <= status < 400 else "")
    return Reply(ReplyKind.HTTP, status, snippet=snippet(body), retry_after_s=retry_after_s, detail=detail)


def failed(error: Exception) -> Reply:
    """Build the reply for an attempt that brought no answer."""
    kind, detail = _classify(error)
    return Reply(kind, detail=detail)


def snippet(body: bytes) -> str:
    """Return the first 1 KiB as text; NUL is replaced too, because PostgreSQL cannot store it."""
    return body[:MAX_SNIPPET].decode("utf-8", errors="replace").replace("\x00", "\ufffd")


def retry_after_s(value: str | None, *, now: datetime) -> float | None:
    """Read a `Retry-After` field (RFC 9110, 10.2.3), seconds or an HTTP date, capped at 24 h; None if unreadable."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return MAX_RETRY_AFTER_S if len(text) > 9 else min(float(text), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _classify(error: Exception) -> tuple[ReplyKind, str]:
    tls_error = next((one for one in (error, error.__cause__) if isinstance(one, ssl.SSLError)), None)
    if tls_error is not None:
        return ReplyKind.TLS, _tls_detail(tls_error)
    if isinstance(error, ResolveError):
        return ReplyKind.DNS, str(error)
    for types, kind, detail in _KINDS:
        if isinstance(error, types):
            return kind, detail
    number = error.errno if isinstance(error, OSError) else None
    return ReplyKind.CONNECT, os.strerror(number).lower() if number else "the connection failed"


def _tls_detail(error: ssl.SSLError) -> str:
    certificate_error = getattr(error, "certificate_error", error)
    message = getattr(certificate_error, "verify_message", None)
    if message:
        return f"the certificate was not accepted: {message}"[:200]
    reason = getattr(error, "reason", None) or "the handshake failed"
    return str(reason).replace("_", " ").lower()[:200]
