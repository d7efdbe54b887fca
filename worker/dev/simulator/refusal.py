"""The API's errors and the body shapes they come in. Knows HTTP statuses and codes, nothing of requests."""

from dataclasses import dataclass
from typing import Any

import orjson

CODES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "deadline_exceeded",
    409: "aborted",
    416: "out_of_range",
    429: "rate_limit_exceeded",
    499: "cancelled",
    500: "api_error",
    501: "unimplemented",
    502: "api_error",
    503: "service_unavailable",
    504: "deadline_exceeded",
}
"""The API's own error code for each HTTP status, when nothing else is asked for."""

PLATFORM = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

SHAPES = ("interactions", "platform", "list", "html", "empty")
"""`interactions`: string code. `platform`: int code, status name. `list`: the same in a list. The others: no JSON."""


@dataclass(slots=True)
class Refusal(Exception):
    """The API refuses a call; raised anywhere, turned into an answer at the edge."""

    status: int
    message: str
    code: str | None = None
    shape: str = "interactions"
    retry_after_s: float | None = None

    def body(self) -> tuple[bytes, str]:
        """Return the error body in its shape and its content type."""
        if self.shape == "html":
            page = f"<!DOCTYPE html><html><title>Error {self.status}</title><p>{self.message}</p></html>"
            return page.encode(), "text/html"
        if self.shape == "empty":
            return b"", "text/plain"
        return orjson.dumps(self._json()), "application/json"

    def _json(self) -> Any:
        if self.shape == "interactions":
            return {"error": {"code": self.code or CODES.get(self.status, "api_error"), "message": self.message}}
        error = {"code": self.status, "message": self.message, "status": PLATFORM.get(self.status, "UNKNOWN")}
        return [{"error": error}] if self.shape == "list" else {"error": error}


def invalid(message: str, code: str = "invalid_request") -> Refusal:
    """Return the 400 that answers a request which cannot be accepted."""
    return Refusal(400, message, code)
