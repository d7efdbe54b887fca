"""The one table from error to status, code and title, and the problem+json (RFC 9457) of every failure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match

from worker.errors import (
    MAX_FAULTS,
    AddressRefused,
    ArtifactStoreError,
    BadRequest,
    Conflict,
    EventRefused,
    Fault,
    Forbidden,
    Gone,
    IdempotencyReused,
    Invalid,
    NightdeskError,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_S = 5
NO_SUCH_PATH = "no such path"


class PayloadTooLarge(NightdeskError):
    """The request's body is over the limit."""


class RateLimited(NightdeskError):
    """`limit` of something are in use: try again after `retry_after_s` seconds. `kind`: what is counted a minute."""

    def __init__(self, message: str, *, limit: int, retry_after_s: int, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.limit = limit
        self.retry_after_s = retry_after_s


class RangeNotSatisfiable(NightdeskError):
    """None of the bytes asked for exist; there are `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"there are {size} bytes")
        self.size = size


@dataclass(frozen=True, slots=True)
class Answer:
    """How an error looks outside."""

    status: int
    code: str
    title: str


BAD_REQUEST = Answer(400, "bad_request", "The request cannot be read")
NOT_FOUND = Answer(404, "not_found", "Not found")
METHOD_NOT_ALLOWED = Answer(405, "method_not_allowed", "This path does not answer this method")
INVALID = Answer(422, "invalid_request", "The request is not valid")
UNAVAILABLE = Answer(503, "unavailable", "Temporarily unavailable")
INTERNAL = Answer(500, "internal_error", "Something went wrong inside")

TABLE: Mapping[type[NightdeskError], Answer] = {
    BadRequest: BAD_REQUEST,
    EventRefused: BAD_REQUEST,
    Unauthenticated: Answer(401, "unauthenticated", "A valid API key is needed"),
    Forbidden: Answer(403, "forbidden", "The API key may not do this"),
    NotFound: NOT_FOUND,
    Conflict: Answer(409, "conflict", "The present status does not allow this"),
    Gone: Answer(410, "gone", "It is no longer here"),
    PayloadTooLarge: Answer(413, "payload_too_large", "The body is too large"),
    RangeNotSatisfiable: Answer(416, "range_not_satisfiable", "The range lies outside the bytes there are"),
    Invalid: INVALID,
    AddressRefused: INVALID,
    IdempotencyReused: Answer(422, "idempotency_key_reused", "The idempotency key was used with another body"),
    RateLimited: Answer(429, "rate_limited", "Too many at once"),
    QuotaExceeded: Answer(429, "quota_exceeded", "A limit is reached"),
    ArtifactStoreError: UNAVAILABLE,
    Unavailable: UNAVAILABLE,
}

BY_STATUS = {answer.status: answer for answer in (BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED)}


def document(
    answer: Answer, detail: str, *, request_id: str, errors: Iterable[Fault] = (), **extra: Any
) -> dict[str, Any]:
    """The members of a problem."""
    faults = [{"pointer": fault.pointer, "detail": fault.detail} for fault in errors]
    return {
        "type": f"urn:nightdesk:error:{answer.code}",
        "title": answer.title,
        "status": answer.status,
        "detail": detail,
        "code": answer.code,
        "request_id": request_id,
        **({"errors": faults} if faults else {}),
        **extra,
    }


def response(content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    body = orjson.dumps(content, default=str)
    return Response(body, status_code=content["status"], headers=dict(headers or {}), media_type=MEDIA_TYPE)


def of(error: NightdeskError, *, request_id: str, limits: Mapping[str, int]) -> Response:
    """The answer to one of our own errors; `limits` are the numbers behind quota errors, by code."""
    answer = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), INTERNAL)
    detail = answer.title if answer is INTERNAL else str(error) or answer.title
    faults: tuple[Fault, ...] = ()
    if isinstance(error, Invalid):
        faults = error.faults
        detail = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    content = document(answer, detail, request_id=request_id, errors=faults)
    return response(content, _headers(error, answer, limits))


def _headers(error: NightdeskError, answer: Answer, limits: Mapping[str, int]) -> dict[str, str]:
    match error:
        case Unauthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case RangeNotSatisfiable():
            return {"Content-Range": f"bytes */{error.size}"}
        case RateLimited() | QuotaExceeded():
            limit = limits[answer.code] if error.limit is None else error.limit
            wait_s = error.retry_after_s
            kind = error.kind if isinstance(error, RateLimited) else None
            return {"Retry-After": str(wait_s), **rate_headers(kind, limit, 0, wait_s)}
    return {"Retry-After": str(UNAVAILABLE_RETRY_S)} if answer is UNAVAILABLE else {}


def rate_headers(kind: str | None, limit: int, remaining: int, reset_s: int) -> dict[str, str]:
    """How a limit stands, in the three headers that clients know; what is counted a minute also in the IETF's two.

    Those are of draft-ietf-httpapi-ratelimit-headers-11, which replaced the three of its sixth edition.
    """
    told = {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": str(reset_s),
    }
    if kind is not None:
        told["RateLimit-Policy"] = f'"{kind}";q={limit};w=60'
        told["RateLimit"] = f'"{kind}";r={remaining};t={reset_s}'
    return told


def install(app: FastAPI, limits: Mapping[str, int]) -> None:
    """Answer every error that a handler lets out with a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, NightdeskError)
        return of(error, request_id=request_id(request), limits=limits)

    app.add_exception_handler(NightdeskError, ours)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(ClientDisconnect, _gone_away)


def request_id(request: Request) -> str:
    """The id that the access layer gave this request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


async def _bad_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = []
    for fault in error.errors()[:MAX_FAULTS]:
        name = "/".join(str(part) for part in fault["loc"][1:])
        faults.append(Fault(f"/{name}", str(fault["msg"])))
    return of(Invalid(*faults), request_id=request_id(request), limits={})


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = BY_STATUS.get(error.status_code)
    if answer is None:
        answer = Answer(error.status_code, "http_error", str(error.detail))
    detail = {404: NO_SUCH_PATH, 405: f"{request.method} is not among the methods of this path"}
    headers = dict(error.headers or {})
    if answer is METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(sorted(_allowed(request.app.routes, request)))}
    content = document(answer, detail.get(answer.status, str(error.detail)), request_id=request_id(request))
    return response(content, headers)


def _allowed(routes: Iterable[BaseRoute], request: Request) -> set[str]:
    """Every method that some route answers at this path: the framework names those of the first route only."""
    known = list(routes)
    allowed = {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in known)
    }
    return allowed | ({"HEAD"} if "GET" in allowed else set())


async def _gone_away(request: Request, error: Exception) -> Response:
    del error
    return response(document(BAD_REQUEST, "the client went away", request_id=request_id(request)))
