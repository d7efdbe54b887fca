"""The outermost layer: request id, security headers, one log line and counters for each request, the last resort.

It never looks at a body or a query. HEAD is answered as GET: the server leaves the body out.
"""

import random
from time import perf_counter
from typing import Any

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.rates import Standing
from worker.telemetry import count, log, observe

HEADER = "X-Request-Id"
_HEADER = HEADER.lower().encode()
MAX_ID_LENGTH = 128
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: logged only where debug lines are."""


class Access:
    """Pure ASGI: it touches the first message of the answer only."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        inner = {**scope, "state": {**scope.get("state", {}), "request_id": request_id, "is_head": _is_head(scope)}}
        if _is_head(scope):
            inner["method"] = "GET"
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._answer(inner, receive, send, _Line(scope["method"], request_id))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, line: "_Line") -> None:
        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                line.status = message["status"]
                _set_headers(message, line.request_id, scope["state"].get("rate"))
            await send(message)

        try:
            await self.app(scope, receive, sender)
        except Exception as error:
            log.exception("request_failed", route=_route(scope), error=type(error).__name__)
            if line.status:
                line.status, line.was_cut = 500, True
                raise
            content = errors.document(
                errors.INTERNAL, "the log has it under this request id", request_id=line.request_id
            )
            await errors.response(content)(scope, receive, sender)
        finally:
            line.write(_route(scope))


class _Line:
    """What is told of one request."""

    def __init__(self, method: str, request_id: str) -> None:
        self.method = method if method in METHODS else "other"
        self.request_id = request_id
        self.status = 0
        self.was_cut = False
        self._began = perf_counter()

    def write(self, route: str) -> None:
        took_s = perf_counter() - self._began
        count("nightdesk_http_requests_total", method=self.method, route=route, status=str(self.status))
        observe("nightdesk_http_request_seconds", took_s, route=route)
        tell = log.debug if route in QUIET else log.info
        outcome = "cut" if self.was_cut or not self.status else "ok" if self.status < 500 else "error"
        duration_ms = round(took_s * 1000, 1)
        tell("request", method=self.method, route=route, status=self.status, outcome=outcome, duration_ms=duration_ms)


def _is_head(scope: Scope) -> bool:
    return bool(scope["method"] == "HEAD")


def _route(scope: Scope) -> str:
    """The route's template, never the path itself: ids would make labels without bound."""
    route: Any = scope.get("route")
    return getattr(route, "path", None) or "unknown"


def _request_id(scope: Scope) -> str:
    # As they came, in lower case: this is done for every request, and most bring none.
    given = next((value.decode("latin-1").strip() for name, value in scope["headers"] if name == _HEADER), "")
    if given and len(given) <= MAX_ID_LENGTH and given.isascii() and given.isprintable():
        return given
    return new_id()


def new_id() -> str:
    """An id for a request that brought none."""
    # It need not be unguessable, and every read of the system's randomness gives the interpreter lock away.
    return f"req_{random.getrandbits(128):032x}"


def _set_headers(message: Message, request_id: str, rate: Standing | None) -> None:
    headers = MutableHeaders(scope=message)
    if rate is not None and "RateLimit-Limit" not in headers:
        headers.update(errors.rate_headers(rate.kind, rate.limit, rate.remaining, rate.reset_s))
    headers[HEADER] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
