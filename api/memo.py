"""Answers that cost a walk over many rows, kept for a time that grows with their cost: at most 5 % of it is spent."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")

MIN_S = 1.0
FACTOR = 20


@dataclass(slots=True)
class _Kept:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: float = 0.0
    value: Any = None


class Memo:
    """Use it on one event loop; names must be few."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    async def get(
        self, name: str, ask: Callable[[], Awaitable[T]], *, min_s: float = MIN_S, factor: float = FACTOR
    ) -> T:
        """What `ask` gave not long ago; whoever comes while it is asked waits for that answer."""
        kept = self._kept.setdefault(name, _Kept())
        async with kept.lock:
            if monotonic() >= kept.until:
                began = monotonic()
                kept.value = await ask()
                kept.until = monotonic() + max(min_s, factor * (monotonic() - began))
            value: T = kept.value
            return value
