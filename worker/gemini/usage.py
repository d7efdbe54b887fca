"""Reads what an interaction says it used: tokens by kind, under the API's own names. Pure, and tolerant of anything.

Whatever the upstream writes here, it must never cost a job its result.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from worker.gemini.clean import tidy

MOST = 10**12
"""No interaction has more tokens: whatever says so is cut, so that sums over millions of them fit in 64 bits."""

LIMIT = 2**63 - 1
MAX_BYTES = 16 * 1024
FIELDS = {
    "input_tokens": "total_input_tokens",
    "cached_tokens": "total_cached_tokens",
    "output_tokens": "total_output_tokens",
    "thought_tokens": "total_thought_tokens",
    "tool_use_tokens": "total_tool_use_tokens",
    "total_tokens": "total_tokens",
}
"""The kinds of tokens that are counted, and where the API writes each."""

_COUNTED = (("modality", "tokens"), ("type", "count"))
"""What its lists count: tokens of each modality, uses of each grounding tool."""


class Tokens(NamedTuple):
    """How many tokens of each kind; what is cached is part of the input."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    thought_tokens: int
    tool_use_tokens: int
    total_tokens: int


def read_usage(body: bytes) -> dict[str, Any] | None:
    """Return what the body of an interaction says of its usage, safe to store; None where it says nothing."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = {"usage": told.get("usage") if isinstance(told, dict) else None}
    tidy(found, has_nul=True)
    return bounded(found["usage"])


def bounded(usage: Any) -> dict[str, Any] | None:
    """Return the usage as it is, or its token counts alone where it is too large for a row; None where it is none."""
    if not isinstance(usage, dict):
        return None
    if len(orjson.dumps(usage)) <= MAX_BYTES:
        return usage
    return {field: usage[field] for field in FIELDS.values() if _number(usage.get(field)) is not None}


def read_tokens(usage: Any) -> Tokens | None:
    """Return the tokens by kind, each within 0 and MOST; None where the interaction says nothing of them."""
    if not isinstance(usage, Mapping):
        return None
    told = {name: _number(usage.get(field)) for name, field in FIELDS.items()}
    if all(value is None for value in told.values()):
        return None
    counts = {name: int(max(0, min(MOST, value or 0))) for name, value in told.items()}
    if told["total_tokens"] is None:
        parts = ("input_tokens", "output_tokens", "thought_tokens", "tool_use_tokens")
        counts["total_tokens"] = min(MOST, sum(counts[name] for name in parts))
    return Tokens(**counts)


def total(before: dict[str, Any] | None, now: dict[str, Any] | None) -> dict[str, Any] | None:
    """Usage of several interactions together: counts are added up, anything else is the latest."""
    if not before or not now:
        return now or before
    return {**before, **{name: _together(before.get(name), value) for name, value in now.items()}}


def _together(before: Any, now: Any) -> Any:
    first, second = _number(before), _number(now)
    if first is not None and second is not None:
        return max(-LIMIT, min(LIMIT, first + second))
    if isinstance(before, list) and isinstance(now, list):
        return _lists(before, now)
    return now


def _lists(before: list[Any], now: list[Any]) -> list[Any]:
    """Count by count where both lists are such, the latest where one is not."""
    for name, count in _COUNTED:
        if all(isinstance(item, dict) and isinstance(item.get(name), str) for item in (*before, *now)):
            sums: dict[str, dict[str, Any]] = {}
            for item in (*before, *now):
                known = sums.get(item[name])
                sums[item[name]] = (
                    item if known is None else {**item, count: _together(known.get(count), item.get(count))}
                )
            return list(sums.values())
    return now


def _number(value: Any) -> int | float | None:
    """Return a number; the API's 64-bit ones may come as strings of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(LIMIT)):
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
