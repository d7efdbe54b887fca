"""A step with its moment in a run. The pieces that runs of every kind are put together from."""

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from worker.dev.simulator.dice import Dice
from worker.dev.simulator.prompt import Step

_FIRST, _LAST = 0.04, 0.92


@dataclass(frozen=True, slots=True)
class Beat:
    """A step that is done when this part of the run is over (0 to 1)."""

    at: float
    step: Step


@lru_cache(maxsize=64)
def pace(count: int) -> tuple[float, ...]:
    """Return the moments of that many steps, evenly over the run up to the writing of the output."""
    return tuple(_FIRST + (_LAST - _FIRST) * i / max(1, count - 1) for i in range(count))


def paced(steps: list[Step]) -> list[Beat]:
    """Return the steps with their moments."""
    return [Beat(at, step) for at, step in zip(pace(len(steps)), steps, strict=True)]


def thought(summary: str | None, dice: Dice) -> Step:
    """Return a thought, with a summary unless it is None."""
    step: Step = {"type": "thought", "signature": signature(dice)}
    return step if summary is None else step | {"summary": [{"type": "text", "text": summary}]}


def signature(dice: Dice) -> str:
    """Return the opaque bytes that the API signs its steps with."""
    return b64encode(dice.bits().to_bytes(8) * 3).decode()


def text(value: str, annotations: list[dict[str, Any]] | None = None) -> Step:
    """Return a text content."""
    content: Step = {"type": "text", "text": value}
    return content | {"annotations": annotations} if annotations else content


def output(*contents: dict[str, Any]) -> Step:
    """Return a model_output step."""
    return {"type": "model_output", "content": list(contents)}
