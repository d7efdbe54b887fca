"""What one process keeps open at most: event streams, followed runs, uploads; how often a silent stream tells so."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from api.errors import RateLimited

HEARTBEAT_S = 15.0
SEND_S = 30.0
MAX_STREAMS = 1000
MAX_FOLLOWED = 100
FULL_RETRY_S = 5


@dataclass(slots=True)
class Streams:
    """How many streams this process has open."""

    limit: int = MAX_STREAMS
    followed: int = MAX_FOLLOWED
    """How many running interactions are followed at a time; who watches another gets its stored events only."""
    heartbeat_s: float = HEARTBEAT_S
    send_s: float = SEND_S
    """How long a client may take nothing of what is sent before its place is given to others."""
    open: int = field(default=0, init=False)

    def check(self) -> None:
        """Raise RateLimited where no more may be opened."""
        if self.open >= self.limit:
            raise RateLimited("too many event streams are open here", limit=self.limit, retry_after_s=FULL_RETRY_S)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one stream while it lasts."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


@dataclass(slots=True)
class Uploads:
    """How many files are on their way through this process: each holds some megabytes."""

    limit: int
    open: int = field(default=0, init=False)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one upload while it lasts; raises RateLimited where no more may begin."""
        if self.open >= self.limit:
            raise RateLimited("too many uploads are under way here", limit=self.limit, retry_after_s=FULL_RETRY_S)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
