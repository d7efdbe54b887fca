"""Words for people: text that is safe on a terminal, times of day as this machine has them, spans of time."""

from datetime import UTC, datetime

ELLIPSIS = "…"


def plain(text: object) -> str:
    """Text without control characters: it comes from models and other servers, and a terminal would obey them."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in str(text))


def line(text: object, longest: int = 200) -> str:
    """The same as one line, cut where it is too long."""
    words = " ".join(plain(text).split())
    return words if len(words) <= longest else words[: longest - 1] + ELLIPSIS


def clock(stamp: str | None) -> str:
    """An RFC 3339 time as date and time here; empty for none."""
    return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M:%S}" if stamp else ""


def seconds_between(start: str, end: str | datetime) -> float:
    """From one RFC 3339 time to another, never negative."""
    until = end if isinstance(end, datetime) else datetime.fromisoformat(end)
    return max(0.0, (until - datetime.fromisoformat(start)).total_seconds())


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def span(seconds: float) -> str:
    """A span of time, its two largest units."""
    whole = int(seconds)
    for unit_s, name, smaller_s, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s} {name} {whole % unit_s // smaller_s} {smaller}"
    return f"{whole} s"
