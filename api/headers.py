"""Reading the request headers that carry meaning; whatever cannot be read is a BadRequest."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from fastapi import Request

from worker.errors import BadRequest

MAX_KEY_LENGTH = 255
MAX_WAIT_S = 60
MAX_RANGES = 50
"""How many media ranges are looked at: nobody who means it wants more."""


def idempotency_key(request: Request) -> str | None:
    """`Idempotency-Key`, 1 to 255 printable ASCII characters; None where there is none."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip()
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise BadRequest(f"Idempotency-Key: must be 1 to {MAX_KEY_LENGTH} printable ASCII characters")
    return key


def prefer_wait(request: Request) -> int | None:
    """`Prefer: wait=N` in seconds (RFC 7240); a bare `wait` is the most there is; other preferences are ignored."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        name, has_value, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() != "wait":
            continue
        text = value.strip().strip('"') if has_value else str(MAX_WAIT_S)
        if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= MAX_WAIT_S):
            raise BadRequest(f"Prefer: wait must be a whole number of seconds from 0 to {MAX_WAIT_S}")
        return int(text)
    return None


@dataclass(frozen=True, slots=True)
class LastEvent:
    """What a client has seen of a stream: stored events up to a number, and the upstream event after it, if any."""

    sequence: int = 0
    live_id: str | None = None
    """None where the client comes for the first time; empty where it named a stored event."""


def last_event(request: Request) -> LastEvent:
    """`Last-Event-ID`, which may be `<sequence>` or `<sequence>.<upstream event id>`."""
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return LastEvent()
    sequence, _, live_id = given.partition(".")
    if not (sequence.isascii() and sequence.isdecimal() and len(sequence) <= 9):
        raise BadRequest("Last-Event-ID: is not an id of this stream")
    return LastEvent(int(sequence), live_id)


def matches(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` names this entity tag (weak comparison, RFC 9110 13.1.2)."""
    given = ",".join(request.headers.getlist("if-none-match"))
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


@dataclass(frozen=True, slots=True)
class _Range:
    """One media range of an Accept header."""

    kind: str
    quality: float

    def weight(self, media_type: str) -> tuple[int, float]:
        """How closely it names the type (0: not at all) and how much it is wanted."""
        if self.kind == media_type:
            return 3, self.quality
        if self.kind == media_type.partition("/")[0] + "/*":
            return 2, self.quality
        return (1, self.quality) if self.kind == "*/*" else (0, 0.0)


def preferred(request: Request, offered: Sequence[str]) -> str:
    """The media type on offer that `Accept` wants most; the first on offer where it does not say."""
    given = (part for part in ",".join(request.headers.getlist("accept")).split(",") if part.strip())
    ranges = [_range(part) for part in islice(given, MAX_RANGES)]
    if not ranges:
        return offered[0]

    def wanted(media_type: str) -> float:
        return max(one.weight(media_type) for one in ranges)[1]

    return max(offered, key=wanted)


def _range(text: str) -> _Range:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return _Range(kind, min(1.0, max(0.0, float(quality))))
    except ValueError:
        return _Range(kind, 0.0)
