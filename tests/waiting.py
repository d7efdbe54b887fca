"""Waiting for a condition with a deadline: the only way in which a test lets real time pass."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

STEP_S = 0.02
PATIENCE_S = 20.0
"""Long enough for a machine that is busy with other tests; who waits so long has failed."""


def eventually(condition: Callable[[], T], within_s: float = PATIENCE_S, what: str = "") -> T:
    """What the condition gives as soon as that is truthy; fails the test when it is not within `within_s` seconds."""
    deadline = monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if monotonic() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not come true within {within_s:g} s: {value!r}")
        sleep(STEP_S)
