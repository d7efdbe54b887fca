"""Reads an HTTP answer that is no interaction, in each of the API's error shapes, and says what it means for a create.

Pure. The API's own message may quote the prompt: it is kept apart for the job's owner and never is an error's text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Literal

from worker.errors import CreateLost, CreateRefused, CreateRejected, UpstreamError
from worker.gemini import clean

Create503 = Literal["refused", "unconfirmed"]

MESSAGE_MAX = 500
RETRY_AFTER_MAX_S = timedelta(days=1).total_seconds()
BAD_KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error answer: `status` of HTTP, the API's snake_case `code`, `detail` in its own words for the job's owner."""

    status: int
    code: str | None = None
    detail: str | None = field(default=None, repr=False)
    retry_after_s: float | None = None
    is_api_shape: bool = False
    """Whether the body is an error as the API itself writes it, not a page of something in between."""


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Return what an error answer says, whatever its body is; `headers` must not mind letter case.

    A bad key is 401 `authentication` also where the platform answers 400 with the reason API_KEY_INVALID.
    """
    error = _error(body)
    details = [item for item in _listed(error.get("details")) if isinstance(item, dict)]
    if status == 400 and any(item.get("reason") in BAD_KEY_REASONS for item in details):
        status, error = 401, error | {"code": "authentication"}
    code = error.get("code") if isinstance(error.get("code"), str) else error.get("status")
    message = error.get("message")
    waits = [retry_after_s(headers), *(_delay_s(item.get("retryDelay")) for item in details)]
    return Refusal(
        status=status,
        code=code.lower() if isinstance(code, str) and _CODE.fullmatch(code) else None,
        detail=_CONTROL.sub(" ", message)[:MESSAGE_MAX] if isinstance(message, str) else None,
        retry_after_s=next((wait for wait in waits if wait is not None), None),
        is_api_shape="code" in error,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the server asks to wait, at most a day; a date counts from the answer's own `Date`."""
    try:
        if "retry-after-ms" in headers:
            return _bounded(float(headers["retry-after-ms"]) / 1000)
        return _bounded(float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        until, since = parsedate_to_datetime(headers["retry-after"]), parsedate_to_datetime(headers["date"])
        return _bounded((until - since).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def create_error(refusal: Refusal, *, create_503: Create503 = "refused") -> UpstreamError:
    """Return the error for a create that was answered so: refused, rejected, or lost when a run may be alive."""
    code = f" {refusal.code}" if refusal.code else ""
    return _meaning(refusal, create_503)(
        f"create answered with HTTP {refusal.status}{code}",
        status=refusal.status,
        code=refusal.code,
        retry_after_s=refusal.retry_after_s,
        detail=refusal.detail,
    )


def _meaning(refusal: Refusal, create_503: Create503) -> type[UpstreamError]:
    status = refusal.status
    is_overload = status == 503 and refusal.is_api_shape and create_503 == "refused"
    if status in (401, 402, 429) or is_overload:
        return CreateRefused
    is_unclear = status in (408, 499) or (status == 409 and refusal.code == "aborted")
    if status == 501 or (400 <= status < 500 and not is_unclear):
        return CreateRejected
    return CreateLost


def _error(body: bytes) -> dict[str, Any]:
    error = clean.first_object(body).get("error")
    return error if isinstance(error, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _delay_s(value: Any) -> float | None:
    match = _DELAY.fullmatch(value) if isinstance(value, str) else None
    return _bounded(float(match[1])) if match else None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if isfinite(seconds) else None
