"""A token bucket that holds one minute's worth: the pure arithmetic of rates. It decides by the `now` it is given."""

from dataclasses import dataclass
from math import ceil

MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """`per_minute` tokens when full, refilled steadily; `at` is when `left` was so, in monotonic seconds."""

    per_minute: int
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Take one token; whether there was one."""
        self._refill(now)
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def lose(self, number: float, now: float) -> None:
        """So many were used elsewhere; it never owes any."""
        self._refill(now)
        self.left = max(0.0, self.left - number)

    def gain(self, number: float, now: float) -> None:
        """Put so many back."""
        self._refill(now)
        self.left = min(float(self.per_minute), self.left + number)

    def is_full(self, now: float) -> bool:
        """Whether it is as one that was never used."""
        self._refill(now)
        return self.left >= self.per_minute

    def next_s(self) -> int:
        """Seconds until there is a token, 1 at least."""
        return max(1, ceil((1 - self.left) * MINUTE_S / self.per_minute))

    def full_s(self) -> int:
        """Seconds until it is full again."""
        return ceil((self.per_minute - self.left) * MINUTE_S / self.per_minute)

    def _refill(self, now: float) -> None:
        gained = max(0.0, now - self.at) * self.per_minute / MINUTE_S
        self.left = min(float(self.per_minute), self.left + gained)
        self.at = max(self.at, now)
