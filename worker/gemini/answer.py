"""What one GET of an interaction came to: still running, ended, or no answer to rely on.

Pure and cheap, for it is done thousands of times a minute. Whether an answer changes a job is not decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from worker.gemini import clean
from worker.gemini.refusal import read_refusal

THOUGHT_MAX = 500
STATUS_MAX = 64

ENDED = frozenset(
    {
        "completed",
        "failed",
        "cancelled",
        "incomplete",
        "budget_exceeded",
        "requires_action",
        "requires_continuation",
    }
)
"""The statuses after which this interaction does not go on; every other one, unknown strings included, is running."""


class AnswerKind(StrEnum):
    """What an answer says about the interaction, as far as it can be relied on."""

    RUNNING = "running"
    ENDED = "ended"
    MISSING = "missing"
    THROTTLED = "throttled"
    DENIED = "denied"
    TROUBLE = "trouble"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one GET."""

    upstream_id: str
    kind: AnswerKind
    status: str | None = None
    """The interaction's status, word for word."""
    body: bytes | None = field(default=None, repr=False)
    """The raw body, of an ended interaction only."""
    thought: str | None = field(default=None, repr=False)
    """The latest thought summary of a running interaction, up to 500 characters."""
    mark: str = ""
    """Changes when something visible has changed: compare it with the mark of the answer before."""
    retry_after_s: float | None = None
    http_status: int | None = None


def read_answer(upstream_id: str, http_status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Return what an HTTP answer says; a 2xx without a JSON object that has a status is trouble."""
    if not 200 <= http_status < 300:
        return _refused(upstream_id, http_status, headers, body)
    value = clean.parse_object(body)
    status = value.get("status")
    if not isinstance(status, str) or not status:
        return Answer(upstream_id=upstream_id, kind=AnswerKind.TROUBLE, http_status=http_status)
    steps, updated = value.get("steps"), value.get("updated")
    steps = steps if isinstance(steps, list) else []
    has_ended = status in ENDED
    return Answer(
        upstream_id=upstream_id,
        kind=AnswerKind.ENDED if has_ended else AnswerKind.RUNNING,
        status=status,
        body=body if has_ended else None,
        thought=None if has_ended else latest_thought(steps),
        mark=f"{status[:40]} {updated[:40] if isinstance(updated, str) else ''} {len(steps)} {len(body)}",
        http_status=http_status,
    )


def short(status: str) -> str:
    """The upstream's own word, as a database takes it: nothing it says may keep a paid id from being stored."""
    return status.replace("\x00", "").encode(errors="replace").decode()[:STATUS_MAX]


def latest_thought(steps: list[Any]) -> str | None:
    """Return the text of the last thought summary that has any, up to 500 characters."""
    for step in reversed(steps):
        if isinstance(step, dict) and step.get("type") == "thought":
            summary = step.get("summary")
            parts = (
                [part.get("text") for part in summary if isinstance(part, dict)] if isinstance(summary, list) else []
            )
            text = " ".join(part for part in parts if isinstance(part, str)).replace("\0", " ").strip()
            if text:
                return text[:THOUGHT_MAX]
    return None


def _refused(upstream_id: str, http_status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    refusal = read_refusal(http_status, headers, body)
    match refusal.status:
        case 404:
            kind = AnswerKind.MISSING
        case 429:
            kind = AnswerKind.THROTTLED
        case 401 | 402 | 403:
            kind = AnswerKind.DENIED
        case _:
            kind = AnswerKind.TROUBLE
    return Answer(upstream_id=upstream_id, kind=kind, retry_after_s=refusal.retry_after_s, http_status=http_status)
