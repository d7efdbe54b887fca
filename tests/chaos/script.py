"""Runs faults: each is a generator that does something to the site and yields how many seconds to wait then.

One thread runs all of them and mends what died in between, so that the order of deeds follows from the seed alone.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from random import Random
from time import monotonic, sleep

from tests.chaos.site import Site

STEP_S = 0.02
LOOK_S = 0.2
Steps = Iterator[float]
Fault = Callable[[Site, Random], Steps]


class Script:
    """The faults of one run, stepped by `go_on`."""

    def __init__(self, site: Site, rng: Random, faults: Iterable[Fault]) -> None:
        self._site = site
        self._numbers = count()
        self._due: list[tuple[float, int, Steps]] = []
        for fault in faults:
            self._put(0, fault(site, rng))

    @property
    def is_done(self) -> bool:
        """Whether every fault has run to its end."""
        return not self._due

    def go_on(self, until: Callable[[], bool], within_s: float) -> bool:
        """Step the faults until the condition holds; False: it did not, in time."""
        give_up = monotonic() + within_s
        look_at = monotonic()
        while True:
            self._site.mend()
            self._site.look()
            self._step()
            if monotonic() >= look_at:
                if until():
                    return True
                look_at = monotonic() + LOOK_S
            if monotonic() > give_up:
                return False
            sleep(STEP_S)

    def _step(self) -> None:
        while self._due and self._due[0][0] <= monotonic():
            _, _, steps = heapq.heappop(self._due)
            wait_s = next(steps, None)
            if wait_s is not None:
                self._put(wait_s, steps)

    def _put(self, wait_s: float, steps: Steps) -> None:
        heapq.heappush(self._due, (monotonic() + wait_s, next(self._numbers), steps))


def after(wait_s: float, fault: Fault) -> Fault:
    """The fault, that much later."""

    def steps(site: Site, rng: Random) -> Steps:
        yield wait_s
        yield from fault(site, rng)

    return steps


def again(times: int, every_s: float, fault: Fault) -> Fault:
    """The fault several times, each time about `every_s` (half to one and a half) after the last began to rest."""

    def steps(site: Site, rng: Random) -> Steps:
        for _ in range(times):
            yield every_s * rng.uniform(0.5, 1.5)
            yield from fault(site, rng)

    return steps


def any_of(*faults: Fault) -> Fault:
    """One of these, as the seed has it, each time that it is asked for."""

    def steps(site: Site, rng: Random) -> Steps:
        yield from rng.choice(faults)(site, rng)

    return steps


def in_turn(*faults: Fault) -> Fault:
    """One fault after the other."""

    def steps(site: Site, rng: Random) -> Steps:
        for fault in faults:
            yield from fault(site, rng)

    return steps


def once(condition: Callable[[Site], bool], fault: Fault, within_s: float = 60.0) -> Fault:
    """The fault at the moment when the condition comes true; a run in which it never does has missed its point."""

    def steps(site: Site, rng: Random) -> Steps:
        give_up = monotonic() + within_s
        while not condition(site):
            if monotonic() > give_up:
                site.miss(f"{getattr(condition, '__name__', 'a condition')} never came true")
                return
            yield STEP_S
        yield from fault(site, rng)

    return steps
