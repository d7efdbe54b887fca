"""What handlers share: one frozen `Desk` for each process, and the few ways in which they use it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, TypeVar

from anyio import CapacityLimiter
from fastapi import Depends, Request
from sqlmodel import Session

from api.gemini.owed import Owed
from api.keyring import Keyring
from api.live import Live
from api.memo import Memo
from api.places import Places, Streams
from api.rates import Rates
from api.readiness import Readiness
from api.rounds import Rounds
from api.strangers import Strangers
from api.threads import Threads, run_in_threadpool
from api.turn import Turn
from api.waits import Watch
from api.writer import Writer
from worker.context import Context
from worker.flow.hear import Listener

T = TypeVar("T")

WALKS = 4
"""Projects that walk at once, each of them with a connection: the others wait in the order in which they came."""


def _walks() -> defaultdict[str, Turn]:
    limiter = CapacityLimiter(WALKS)
    return defaultdict(lambda: Turn(limiter=limiter))


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One API process's means."""

    context: Context
    keyring: Keyring
    strangers: Strangers
    rates: Rates
    writer: Writer
    watch: Watch
    streams: Streams
    live: Live
    uploads: Places
    waits: Places
    rounds: Rounds
    readiness: Readiness
    owed: Owed
    listener: Listener | None
    """None where upstream events are off."""
    threads: Threads = field(default_factory=Threads)
    memo: Memo = field(default_factory=Memo)
    turn: Turn = field(default_factory=Turn)
    """Of bodies, and of what is asked for with all its parts."""
    pages: Turn = field(default_factory=Turn)
    """Of reports as pages, each of which may take seconds."""
    walks: defaultdict[str, Turn] = field(default_factory=_walks)
    """Each project's own: of queries that may walk over all of its rows."""

    async def read(self, query: Callable[[Session], T]) -> T:
        """What a query gives, asked off the event loop; raises Unavailable."""
        return await run_in_threadpool(self._read, query)

    async def read_in_turn(self, project_id: str, query: Callable[[Session], T]) -> T:
        """The same of a query that gives much, in its turn; raises RateLimited, too."""
        return await self.turn.take(project_id, partial(self._read, query))

    async def walk(self, project_id: str, query: Callable[[Session], T]) -> T:
        """The same of a query that looks at many rows: one of a project at a time; raises RateLimited, too.

        A few projects of very many rows could otherwise take all connections.
        """
        return await self.walks[project_id].take(project_id, partial(self._read, query))

    def _read(self, query: Callable[[Session], T]) -> T:
        with self.context.database.read() as session:
            return query(session)


async def at_desk(request: Request) -> Desk:
    """The dependency: async, because FastAPI runs the others in a thread."""
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(at_desk)]
