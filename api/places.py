"""What one process has at once at most: streams, followed runs, uploads, waits, heavy requests, bytes.

One project may have half of the places, so that it cannot take them all from the others.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from api.errors import RateLimited
from worker.telemetry import count

HEARTBEAT_S = 15.0
SEND_S = 30.0
MAX_STREAMS = 1000
MAX_FOLLOWED = 100
MAX_WAITS = 4000
"""Requests that wait for their jobs: each has a connection, of which there may be 10,000."""

FULL_RETRY_S = 5


@dataclass(slots=True)
class Places:
    """So many of something at a time, and of one project half of them."""

    limit: int
    what: str
    """What there are too many of, and what they are or do."""
    kind: str
    """The same as a metric's label."""
    open: int = 0
    _of_each: Counter[str] = field(default_factory=Counter)

    def has_room(self, project_id: str, number: int = 1) -> bool:
        """Whether so many more may be opened for this project."""
        return self.open + number <= self.limit and self._of_each[project_id] + number <= self.share

    @property
    def share(self) -> int:
        """What one project may have."""
        return max(1, self.limit // 2)

    def check(self, project_id: str, number: int = 1) -> None:
        """Raise RateLimited where so many more may not be opened, or not for this project."""
        if self.has_room(project_id, number):
            return
        whose = " for this project" if self.open + number <= self.limit else ""
        count("nightdesk_rate_limited_total", kind=self.kind)
        limit = self.share if whose else self.limit
        raise RateLimited(f"too many {self.what}{whose}", limit=limit, retry_after_s=FULL_RETRY_S)

    def add(self, project_id: str, number: int) -> None:
        """Count so many more, or fewer."""
        self.open += number
        self._of_each[project_id] += number
        if not self._of_each[project_id]:
            del self._of_each[project_id]

    @contextmanager
    def place(self, project_id: str) -> Iterator[None]:
        """Count one while it lasts."""
        self.add(project_id, 1)
        try:
            yield
        finally:
            self.add(project_id, -1)


@dataclass(slots=True)
class Streams:
    """How many streams this process has open."""

    limit: int = MAX_STREAMS
    followed: int = MAX_FOLLOWED
    """How many running interactions are followed at a time; who watches another gets its stored events only."""
    heartbeat_s: float = HEARTBEAT_S
    send_s: float = SEND_S
    """How long a client may take nothing of what is sent before its place is given to others."""
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(self.limit, "event streams are open here", kind="streams")


def waits() -> Places:
    """How many requests of this process wait for their jobs."""
    return Places(MAX_WAITS, "requests wait for their jobs here", kind="waits")


def uploads(limit: int) -> Places:
    """How many files are on their way through this process: each holds some megabytes."""
    return Places(limit, "uploads are under way here", kind="uploads")
