"""How much there is to requests: the bytes that are held of bodies and answers, and the parts that a body would have.

Parts are counted on the bytes, before anything is made of them: while it is, the interpreter does nothing else.
"""

from collections.abc import Mapping
from typing import Any

from api.places import Places

MARKS = (b",", b":", b"[", b"{")
"""What there is one of, nearly, for each value and each name."""

MAX_PARTS = 1_000_000
"""So many are read within a quarter of a second."""

LIGHT_BYTES, LIGHT_PARTS = 64 * 1024, 2000
"""What is read and checked on the event loop: a hop to a thread costs more than that."""

HELD_BYTES = 512 * 1024 * 1024
UNCOUNTED_BYTES = 16 * 1024
"""So much of each body is not counted as held: most bodies are smaller."""

PART_BYTES = 200
"""What a part takes once it is read, about."""


def is_light(body: bytes) -> bool:
    """Whether there is so little to it that it may be read on the event loop."""
    return len(body) <= LIGHT_BYTES and _marks(body) <= LIGHT_PARTS


def parts(body: bytes) -> int:
    """How many values and names there are in JSON, about, up to one more than MAX_PARTS; without those in texts."""
    if (number := _marks(body)) <= LIGHT_PARTS:
        return number
    # Every step is one call that takes milliseconds. Without what is escaped each quotation mark begins or ends a text.
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 2 * MAX_PARTS:
        return MAX_PARTS + 1
    return min(MAX_PARTS + 1, _marks(b"".join(bare.split(b'"')[::2])))


def _marks(text: bytes) -> int:
    return sum(text.count(mark) for mark in MARKS)


def held() -> Places:
    """How many bytes of bodies, and of answers, one process holds at once."""
    return Places(HELD_BYTES, "bytes of requests and answers are held here", kind="bytes")


class Hold:
    """What one request holds of them, first of its body, then of its answer.

    `state` names its project before its body is read.
    """

    def __init__(self, places: Places, state: Mapping[str, Any]) -> None:
        self._places = places
        self._state = state
        self._project_id = ""
        self._number = 0

    def grow(self, number: int) -> None:
        """Hold so many more; raises RateLimited where there is no room for them."""
        self.check(number)
        self.reach(self._number + number)

    def check(self, number: int) -> None:
        """Raise RateLimited where there is no room for so many more."""
        if not self._number:
            self._project_id = self._state.get("project_id", "")
        self._places.check(self._project_id, number)

    def reach(self, number: int) -> None:
        """Hold so many at least, whether there is room for them or not."""
        if not self._number:
            self._project_id = self._state.get("project_id", "")
        self._places.add(self._project_id, max(0, number - self._number))
        self._number = max(self._number, number)

    def end(self) -> None:
        """Give all of it back."""
        self._places.add(self._project_id, -self._number)
        self._number = 0
