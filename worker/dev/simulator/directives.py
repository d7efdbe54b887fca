"""Directives in a prompt, `[[sim: key=value …]]`: a script for the run and faults for the calls about it.

Each block stands for itself: in a block that names a call (`create=503`) the other keys tell when and how it fails,
in any other block they tell how the run goes. A key that does not exist is refused, so that a typo is noticed.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.dev.simulator.faults import CALLS, KINDS, Rule, rule_from
from worker.dev.simulator.refusal import Refusal, invalid

_BLOCK = re.compile(r"\[\[sim:(.*?)\]\]", re.DOTALL)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|kb|mb)?", re.IGNORECASE)
_SCALE = {"": 1, "b": 1, "kb": 1024, "mb": 1024 * 1024}


@dataclass(frozen=True, slots=True)
class Directives:
    """What a prompt asks of the simulator; times are as written, not yet divided by the speed."""

    script: dict[str, Any] = field(default_factory=dict)
    rules: tuple[dict[str, Any], ...] = ()

    def rules_at(self, now: float) -> list[Rule]:
        """Return fresh rules whose time limits count from now."""
        return [rule_from(rule, now) for rule in self.rules]


def _bytes(value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(value)
    return int(float(match[1]) * _SCALE[(match[2] or "").lower()])


def _late(value: str) -> float:
    return 3.0 if value == "late" else float(value)


def _is_yes(value: str) -> bool:
    return value in ("yes", "true", "1")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a directive: the field that it sets, how its value is read, what it does."""

    field: str
    read: Callable[[str], Any]
    does: str


SCRIPT = {
    "duration": Key("duration_s", float, "how long the run lasts, in seconds (before the speed)"),
    "queued": Key("queued_s", float, "how long it is `queued` before that"),
    "status": Key("status", str, "how it ends; any word, also one the API does not know; `stuck` never ends"),
    "running": Key("running", str, "the status that GET shows while it runs"),
    "code": Key("code", str, "the error code of a failed run"),
    "message": Key("message", str, "its message"),
    "size": Key("size_b", _bytes, "the least size of the text: 500, 20kb, 5mb"),
    "calls": Key("calls", int, "how many function calls it makes"),
    "images": Key("images", int, "how many images it makes"),
    "text": Key("text", str, "the answer, word for word; quote it"),
    "event_ids": Key("event_ids", str, "which events of its stream have an id: all, some, none"),
    "strange": Key("strange", _is_yes, "`yes`: its stream has events between that nobody knows"),
    "usage": Key("usage_late_s", _late, "`late` or seconds: the usage is missing that long after the end"),
}
"""Keys that script the run."""

FAULT = {
    "status": Key("status", int, "the HTTP status of kind html"),
    "times": Key("count", int, "how many calls it strikes; all without it"),
    "for": Key("for_s", float, "how many seconds it lasts, from the first create with this prompt"),
    "after": Key("after", int, "how many events of a stream come through"),
    "back": Key("back", int, "how many events a resumed stream tells again"),
    "retry_after": Key("retry_after_s", float, "the Retry-After header"),
    "delay": Key("delay_s", float, "the seconds of kinds slow, cut, dribble"),
    "shape": Key("shape", str, "the shape of the error body"),
    "code": Key("code", str, "its code"),
    "message": Key("message", str, "its message"),
    "probability": Key("probability", float, "how likely it strikes, 0 to 1"),
    "made": Key("made", _is_yes, "`yes` or `no`: whether the call takes effect in spite of the fault"),
}
"""Keys beside `create=`, `get=`, `cancel=`, `delete=`, `stream=`, whose value is an HTTP status or a kind of fault."""


def read(text: str) -> Directives:
    """Return what the text asks for; raises Refusal for a directive that cannot be read."""
    if "[[sim:" not in text:
        return Directives()
    script: dict[str, Any] = {}
    rules: list[dict[str, Any]] = []
    for block in _BLOCK.findall(text):
        pairs = _pairs(block)
        calls = [call for call in CALLS if call in pairs]
        if not calls:
            script |= _read(pairs, SCRIPT)
            continue
        limits = _read({key: value for key, value in pairs.items() if key not in calls}, FAULT)
        rules += [{"call": call, **_kind(call, pairs[call]), **limits} for call in calls]
    for rule in rules:
        rule_from(rule, 0.0)
    return Directives(script, tuple(rules))


def _pairs(block: str) -> dict[str, str]:
    try:
        words = [word.rstrip(",") for word in shlex.split(block)]
    except ValueError as error:
        raise _unreadable(block) from error
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    if len(pairs) != len(words):
        raise _unreadable(block)
    return pairs


def _kind(call: str, value: str) -> dict[str, Any]:
    if value.isdigit():
        is_unknown_method = call == "cancel" and value == "404"
        platform = {"shape": "list", "message": "Method not found."} if is_unknown_method else {}
        return {"kind": "status", "status": int(value), **platform}
    return {"kind": value}


def _read(pairs: dict[str, str], table: dict[str, Key]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs.items():
        if name not in table:
            raise invalid(f"Unknown simulator directive '{name}'; one of {', '.join(table)}.")
        key = table[name]
        try:
            values[key.field] = key.read(value)
        except ValueError as error:
            raise invalid(f"Bad value for the simulator directive '{name}'.") from error
    return values


def _unreadable(block: str) -> Refusal:
    return invalid(
        f"Cannot read the simulator directive '{block.strip()}'; write key=value pairs. Kinds: {list(KINDS)}"
    )
