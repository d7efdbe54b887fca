"""Waiting for a condition with a deadline: the only way in which a test lets real time pass."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

STEP_S = 0.02
PATIENCE_S = 60.0
"""Long enough for a machine that is slow and busy with other tests; who waits so long has failed. A shorter wait proves
nothing more: whoever is to be quick is held to an order, not to a time."""

STALL_S = 1.0
"""The longest that a pause between two looks counts for: whoever was waited for stood still, too."""


def eventually(condition: Callable[[], T | None], within_s: float = PATIENCE_S, what: str = "") -> T:
    """What the condition gives as soon as that is truthy; fails the test when it is not within `within_s` seconds.

    A machine that stood still did not wait: of a pause between two looks no more than STALL_S counts.
    """
    left_s = within_s
    while True:
        began = monotonic()
        value = condition()
        if value:
            return value
        if left_s <= 0:
            raise AssertionError(f"{what or 'the condition'} did not come true within {within_s:g} s: {value!r}")
        sleep(STEP_S)
        left_s -= min(monotonic() - began, STALL_S)
