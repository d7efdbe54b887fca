"""The upstream's manners: under `/gemini` every problem leaves as the Interactions API's own error.

Both SDKs send a request again at 408, 409, 429 and every 5xx: a refusal that stands is therefore always a 400 or 404.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors

ROOT = "/gemini"
JSON = "application/json"
ELSEWHERE = "Nightdesk answers create, get, cancel and delete under /gemini/{v1|v1beta}/interactions, and nothing else."

CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "invalid_request"),
    "unauthenticated": (401, "authentication"),
    "forbidden": (403, "permission_denied"),
    "not_found": (404, "not_found"),
    "method_not_allowed": (405, "unimplemented"),
    "conflict": (400, "failed_precondition"),
    "gone": (404, "not_found"),
    "payload_too_large": (413, "invalid_request"),
    "invalid_request": (400, "invalid_request"),
    "idempotency_key_reused": (400, "invalid_request"),
    "rate_limited": (429, "rate_limit_exceeded"),
    "quota_exceeded": (429, "quota_exceeded"),
    "unavailable": (503, "service_unavailable"),
    "internal_error": (500, "api_error"),
}
"""Our code → the status and the code that the upstream has for it."""


class Manners:
    """Pure ASGI, outermost: it rewrites answers that are problems and lets everything else pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and is_here(scope["path"]):
            await self.app(scope, receive, _Rewriter(send).send)
        else:
            await self.app(scope, receive, send)


class _Rewriter:
    """Holds back a problem's head until its body is known."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_problem(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._flush(self._start)

    async def _flush(self, start: Message) -> None:
        status, content = upstream_error(orjson.loads(self._body))
        body = orjson.dumps(content)
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"], headers["content-length"] = JSON, str(len(body))
        await self._send({**start, "status": status, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def is_here(path: str) -> bool:
    """Whether a path belongs to this door."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def upstream_error(problem: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """A problem as the upstream would put it: its status and its body."""
    status, code = CODES.get(problem["code"], (problem["status"], "api_error"))
    message = problem["detail"] or problem["title"]
    if message == errors.NO_SUCH_PATH:
        message = ELSEWHERE
    if problem.get("errors"):
        message = "; ".join(f"'{_place(fault['pointer'])}' {fault['detail']}" for fault in problem["errors"])
    return status, error_body(code, message)


def error_body(code: str, message: str) -> dict[str, Any]:
    """An error in the Interactions API's shape."""
    return {"error": {"code": code, "message": message}}


def error(status: int, code: str, message: str) -> Response:
    """An error that only this door knows, as an answer."""
    return Response(orjson.dumps(error_body(code, message)), status_code=status, media_type=JSON)


def _place(pointer: str) -> str:
    """A JSON pointer as the upstream writes places: `tools[0].type`."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    return "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in parts).removeprefix(".") or "body"


def _is_problem(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return kind.partition(";")[0] == errors.MEDIA_TYPE
