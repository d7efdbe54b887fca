"""What can go wrong on request: the table of fault kinds, and the rules that say when one strikes.

Rules come from `POST /_sim/faults` or from a directive in a prompt. Nothing is sent from here: see `failing`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from worker.dev.simulator.dice import Dice
from worker.dev.simulator.refusal import SHAPES, invalid

CALLS = ("create", "get", "cancel", "delete", "stream", "upload", "*")
_ALL = frozenset(CALLS)
_STREAM = frozenset({"stream", "*"})
_ENDING = frozenset({"cancel", "delete", "*"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: whether the call still takes effect, what the client sees, which calls it can strike."""

    acts: bool
    sees: str
    calls: frozenset[str] = _ALL


KINDS = {
    "status": Kind(acts=False, sees="HTTP `status` with an error body in `shape`, `code`, `message`, `retry_after_s`"),
    "lost": Kind(acts=True, sees="the connection closed without an answer, after the call took effect"),
    "close": Kind(acts=False, sees="the connection closed without an answer; nothing happened"),
    "reset": Kind(acts=False, sees="a TCP reset; nothing happened"),
    "hang": Kind(acts=True, sees="nothing at all until it hangs up itself; the call took effect"),
    "slow": Kind(acts=True, sees="the answer after `delay_s` (5); for a cancel: its effect only after `delay_s` (10)"),
    "broken": Kind(acts=True, sees="status 200 with half of the JSON"),
    "truncated": Kind(acts=True, sees="status 200, the connection closed in the middle of the body"),
    "html": Kind(acts=False, sees="HTTP `status` (502) with an HTML page"),
    "accepted": Kind(acts=True, sees="status 202 instead of 200"),
    "ignored": Kind(acts=False, sees="status 200, and nothing happened", calls=_ENDING),
    "cut": Kind(
        acts=True,
        sees="a stream that ends after `after` (5) events, or `delay_s` seconds, with a raw 503, as at 600 s",
        calls=_STREAM,
    ),
    "drop": Kind(acts=True, sees="a stream whose connection closes after `after` (5) events", calls=_STREAM),
    "stall": Kind(acts=True, sees="a stream that falls silent after `after` (5) events and stays open", calls=_STREAM),
    "dribble": Kind(acts=True, sees="a stream that comes 16 bytes at a time, each `delay_s` (0.01)", calls=_STREAM),
    "replay": Kind(acts=True, sees="a stream that resumes `back` events too early, as the others may", calls=_STREAM),
}
STREAM_KINDS = frozenset({"cut", "drop", "stall", "dribble", "replay"})
"""The one table of fault kinds. `made` on a rule turns `acts` round."""


@dataclass(slots=True)
class Rule:
    """When a fault strikes and how; every limit that is set must hold."""

    call: str
    kind: str = "status"
    status: int = 503
    code: str | None = None
    message: str | None = None
    shape: str = "interactions"
    retry_after_s: float | None = None
    delay_s: float | None = None
    after: int = 5
    back: int = 0
    """How many events that were told already a resumed stream tells again."""
    made: bool | None = None
    count: int | None = None
    """How many calls it strikes; without limit if None."""
    until_s: float | None = None
    """The moment of the simulator's clock at which it stops."""
    probability: float = 1.0
    target: str | None = None
    """A model, an agent or an interaction id."""
    prompt: str | None = None
    """A part of the create's words."""
    hits: int = 0

    @property
    def acts(self) -> bool:
        """Whether the call takes effect in spite of the fault."""
        return KINDS[self.kind].acts if self.made is None else self.made

    def strikes(self, *, call: str, now: float, seed: int = 0) -> bool:
        """Say whether this call is struck, apart from target and prompt; counts the hit."""
        if self.call not in (call, "*") or call not in KINDS[self.kind].calls or self.is_spent(now):
            return False
        self.hits += 1
        if self.probability < 1.0 and Dice(seed, self.call, self.kind, self.hits).fraction() >= self.probability:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def is_spent(self, now: float) -> bool:
        """Whether it can never strike again."""
        return (self.count is not None and self.count <= 0) or (self.until_s is not None and now >= self.until_s)


@dataclass(slots=True)
class Subject:
    """What a call is about, as far as rules look at it."""

    id: str | None = None
    target: str | None = None
    words: str = ""


@dataclass(slots=True)
class Faults:
    """The rules set by the control calls, in the order in which they are tried."""

    seed: int = 0
    rules: list[Rule] = field(default_factory=list)

    def strike(self, call: str, subject: Subject, now: float) -> Rule | None:
        """Return the first rule that strikes this call, or None."""
        self.rules = [rule for rule in self.rules if not rule.is_spent(now)]
        for rule in self.rules:
            if rule.target is not None and rule.target not in (subject.id, subject.target):
                continue
            if rule.prompt is not None and rule.prompt not in subject.words:
                continue
            if rule.strikes(call=call, now=now, seed=self.seed):
                return rule
        return None


def first(rules: Iterable[Rule], call: str, now: float) -> Rule | None:
    """Return the first of an interaction's own rules that strikes this call, or None."""
    return next((rule for rule in rules if rule.strikes(call=call, now=now)), None)


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "call": str,
    "kind": str,
    "status": int,
    "code": str,
    "message": str,
    "shape": str,
    "retry_after_s": (int, float),
    "delay_s": (int, float),
    "after": int,
    "back": int,
    "made": bool,
    "count": int,
    "probability": (int, float),
    "target": str,
    "prompt": str,
    "until_s": (int, float),
}


def rule_from(data: dict[str, Any], now: float) -> Rule:
    """Build a rule from JSON; `for_s` counts from now. Raises Refusal that names the bad field."""
    values = dict(data)
    if "for_s" in values:
        values["until_s"] = now + float(values.pop("for_s"))
    for name, value in values.items():
        if name not in _FIELDS or not isinstance(value, _FIELDS[name]):
            raise invalid(f"Bad fault field '{name}'; the fields are {', '.join(_FIELDS)} and for_s.")
    values.setdefault("call", "*")
    if values.get("kind") == "html":
        values = {"status": 502, **values, "shape": "html"}
    for name, allowed in (("call", CALLS), ("kind", tuple(KINDS)), ("shape", SHAPES)):
        if name in values and values[name] not in allowed:
            raise invalid(f"Bad fault {name} '{values[name]}'; one of {', '.join(allowed)}.")
    rule = Rule(**values)
    if rule.call not in KINDS[rule.kind].calls:
        raise invalid(f"The fault kind '{rule.kind}' cannot strike '{rule.call}'.")
    return rule
