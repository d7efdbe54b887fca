"""When to try again: every schedule is data, and one pure function each turns a count and `now` into the next time."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Starts at `start_s`, grows by `factor`, stops growing at `cap_s`; jitter only shortens, by up to `jitter`."""

    start_s: float
    factor: float
    cap_s: float
    jitter: float = 0.1

    def wait_s(self, count: int, chance: float) -> float:
        """Seconds to wait after `count` tries (0 is the first wait); `chance` is a random number in [0, 1)."""
        try:
            wait_s = min(self.cap_s, self.start_s * self.factor**count)
        except OverflowError:
            # A float overflows long before a job stops being polled.
            wait_s = self.cap_s
        return wait_s * (1 - self.jitter * chance)

    def next_time(self, count: int, now: datetime, chance: float) -> datetime:
        """The moment of the next try."""
        return now + timedelta(seconds=self.wait_s(count, chance))


REFUSED = Backoff(start_s=2, factor=2, cap_s=300)
"""A create that was surely not accepted, and a gate closed by 429 without Retry-After."""

AGAIN = Backoff(start_s=2, factor=4, cap_s=120)
"""Another attempt at a run that failed upstream for a transient reason."""

ORPHANED = Backoff(start_s=2, factor=2, cap_s=300)
"""The cancel of an interaction that nobody waits for and that may cost money while it runs."""

LEFT = Backoff(start_s=60, factor=2, cap_s=4 * 3600)
"""Something outside the database that a removed job left behind and that could not be removed yet."""

SETTLE = Backoff(start_s=2, factor=2, cap_s=300)
"""A result seen but not stored, because the artifact store failed."""

UNREACHABLE = Backoff(start_s=30, factor=1, cap_s=30)
"""A cancelling job whose interaction cannot be asked."""


LATE_USAGE_S = (5.0, 30.0, 300.0, 3600.0, 6 * 3600.0)
"""Usage that an ended interaction did not tell yet: how long after its end, and then after each look, it is asked for.

The upstream writes it down some seconds late (`upstream.md` 3); whoever tells nothing in all this time never will.
"""


def rung(ladder_s: tuple[float, ...], attempt: int, now: datetime, chance: float) -> datetime | None:
    """When webhook attempt number `attempt` (the first is 1) may go; None past the ladder's end.

    Jitter is 0 to 20 % later, never earlier (`webhooks.md`).
    """
    if attempt > len(ladder_s):
        return None
    return now + timedelta(seconds=ladder_s[attempt - 1] * (1 + 0.2 * chance))
