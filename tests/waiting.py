"""Waiting for a condition with a deadline: the only way in which a test lets real time pass."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

STEP_S = 0.02


def eventually(condition: Callable[[], T], within_s: float = 5, what: str = "") -> T:
    """What the condition gives as soon as that is truthy; fails the test when it is not within `within_s` seconds."""
    deadline = monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if monotonic() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not come true within {within_s:g} s: {value!r}")
        sleep(STEP_S)
