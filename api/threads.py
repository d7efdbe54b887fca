"""Threads for what blocks while requests are answered: so many in a process, and of one project a part of them.

A request may wait for the database, for a store or for the upstream: however many of one project do so, there are
threads for the others. What is asked before a project is known has those of the framework, and so always some.
"""

from asyncio import Semaphore
from collections import defaultdict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette import concurrency

P = ParamSpec("P")
T = TypeVar("T")

MOST, OF_PROJECT = 40, 12
"""Of one project fewer than a process has connections, beside what it does in its turn: those are for others, too."""


@dataclass(frozen=True, slots=True)
class _Share:
    """What one project has of them."""

    of_project: Semaphore
    of_all: CapacityLimiter


_SHARE: ContextVar[_Share | None] = ContextVar("share", default=None)


class Threads:
    """One process's; use them on its event loop."""

    def __init__(self) -> None:
        self._all = CapacityLimiter(MOST)
        self._of_each: defaultdict[str, Semaphore] = defaultdict(lambda: Semaphore(OF_PROJECT))

    @property
    def busy(self) -> int:
        """How many are in use."""
        return self._all.borrowed_tokens

    def enter(self, project_id: str) -> None:
        """From here on the present task has the share of this project."""
        _SHARE.set(_Share(self._of_each[project_id], self._all))


async def run_in_threadpool(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function gives, in a thread, as soon as the project of the request has one free."""
    share = _SHARE.get()
    if share is None:
        return await concurrency.run_in_threadpool(func, *args, **kwargs)
    async with share.of_project:
        return await to_thread.run_sync(partial(func, *args, **kwargs), limiter=share.of_all)
