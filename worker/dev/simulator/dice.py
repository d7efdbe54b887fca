"""Deterministic chance: the same seeds give the same throws everywhere, at a fraction of `random`'s set-up cost."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1


class Dice:
    """A splitmix64 generator seeded from any values."""

    __slots__ = ("_state",)

    def __init__(self, *seeds: object) -> None:
        text = "\x1f".join(map(str, seeds)).encode("utf-8", "surrogatepass")
        self._state = int.from_bytes(blake2b(text, digest_size=8).digest())

    def bits(self) -> int:
        """Return 64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return self.bits() / 2**64

    def between(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + self.bits() % (high - low + 1)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in a random order."""
        return sorted(items, key=lambda _: self.bits())

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.bits() % len(items)]
