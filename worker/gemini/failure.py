"""What an interaction's own errors say, and whether the same run may succeed later. Pure.

The messages are the API's words for the job's owner; only the sentence of a `Failure` is safe to log.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

FailureCode = Literal["upstream_failed", "upstream_rejected", "safety_blocked"]
Errors = tuple[dict[str, str | None], ...]

MESSAGE_MAX = 2000

BLOCKED = frozenset(
    {
        "safety",
        "recitation",
        "language",
        "prohibited_content",
        "spii",
        "blocklist",
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
        "image_other",
        "content_blocked",
    }
)

REJECTED = frozenset(
    {
        "invalid_request",
        "invalid_argument",
        "parameter_unknown",
        "failed_precondition",
        "out_of_range",
        "authentication",
        "unauthenticated",
        "payment_required",
        "permission_denied",
        "model_not_found",
        "not_found",
        "already_exists",
        "unimplemented",
    }
)

TRANSIENT = frozenset(
    {
        "api_error",
        "internal",
        "service_unavailable",
        "unavailable",
        "deadline_exceeded",
        "rate_limit_exceeded",
        "too_many_requests",
        "quota_exceeded",
        "resource_exhausted",
        "aborted",
        "malformed_function_call",
        "malformed_tool_call",
        "unexpected_tool_call",
        "no_image",
        "too_many_tool_calls",
        "missing_thought_signature",
    }
)
"""Codes after which the same run may well succeed: the API's own trouble, and generation that went astray."""

NUMBERS = {
    1: "cancelled",
    2: "unknown",
    3: "invalid_argument",
    4: "deadline_exceeded",
    5: "not_found",
    6: "already_exists",
    7: "permission_denied",
    8: "resource_exhausted",
    9: "failed_precondition",
    10: "aborted",
    11: "out_of_range",
    12: "unimplemented",
    13: "internal",
    14: "unavailable",
    15: "data_loss",
    16: "unauthenticated",
    400: "invalid_request",
    429: "rate_limit_exceeded",
    500: "api_error",
    503: "service_unavailable",
    504: "deadline_exceeded",
}
"""Names of the numeric codes: a step's own error counts as google.rpc does, the platform as HTTP does."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed: the job's error code, whether the same run may succeed later, and a sentence safe to log."""

    code: FailureCode
    retryable: bool
    message: str


def classify_failure(errors: Errors) -> Failure:
    """Return what an interaction's errors mean; the gravest counts, and what nobody knows is not retried."""
    codes = [code for error in errors if (code := error.get("code"))]
    if blocked := _first(codes, BLOCKED):
        return Failure("safety_blocked", False, f"the API blocked the content ({blocked}): change the input")
    if rejected := _first(codes, REJECTED):
        return Failure("upstream_rejected", False, f"the API refused the run ({rejected})")
    if transient := _first(codes, TRANSIENT):
        return Failure("upstream_failed", True, f"the run failed upstream ({transient}); another may succeed")
    unknown = next((code for code in codes if re.fullmatch(r"[a-z0-9_.-]+", code)), "no reason given")
    return Failure("upstream_failed", False, f"the run failed upstream ({unknown})")


def errors_of(root: dict[str, Any], steps: list[dict[str, Any]]) -> Errors:
    """Return the errors of an interaction and of its outputs, each once, with `code` and `message`."""
    listed = root.get("errors")
    found = [*(listed if isinstance(listed, list) else [listed]), root.get("error")]
    found += [step.get("error") for step in steps if step.get("type") == "model_output"]
    unique: dict[tuple[str | None, str | None], None] = {}
    for error in found:
        if isinstance(error, str):
            unique[None, error[:MESSAGE_MAX]] = None
        elif isinstance(error, dict) and error:
            message = error.get("message")
            unique[_code(error), message[:MESSAGE_MAX] if isinstance(message, str) else None] = None
    return tuple({"code": code, "message": message} for code, message in unique)


def _first(codes: list[str], known: frozenset[str]) -> str | None:
    return next((code for code in codes if code in known), None)


def _code(error: dict[str, Any]) -> str | None:
    """Return the code as a name, whether it came as one, as a status name, or as a number."""
    code, status = error.get("code"), error.get("status")
    for name in (code, status):
        if isinstance(name, str) and name:
            return name[:64].lower()
    return NUMBERS.get(code, str(code)) if isinstance(code, int) and not isinstance(code, bool) else None
