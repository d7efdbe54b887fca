"""Live upstream events of running jobs for everybody in this process who watches them: best effort, never stored.

One follower for each watched interaction, shared by its watchers. Nothing of it decides anything about a job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.follower import Follower, Means, Pace, Throttle
from api.history import History, Piece, Reset
from worker.gemini.stream import Streamer
from worker.telemetry import count

LIMIT = 100
AT_ONCE_BYTES = 64 * 1024
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Start:
    """What a reader has of an interaction already: up to the piece of the id `shown`; empty: some of it; None: nothing.

    A new reader gets the steps so far at once, unless it asks for the pieces themselves (`is_whole`).
    """

    shown: str | None = None
    is_whole: bool = False


class Live:
    """All followers of a process; to be used on its event loop. `ended` is told when a stream says that a run has."""

    def __init__(
        self,
        streamer: Streamer,
        ended: Callable[[str, str], Awaitable[None]],
        *,
        chance: Callable[[], float],
        pace: Pace | None = None,
        limit: int = LIMIT,
    ) -> None:
        self._means = Means(streamer, pace or Pace(), chance, ended, Throttle())
        self._limit = limit
        self._followers: dict[str, tuple[Follower, asyncio.Task[None]]] = {}

    @property
    def followed(self) -> set[str]:
        """The interactions that are followed."""
        return set(self._followers)

    @property
    def pace(self) -> Pace:
        """What followers keep to."""
        return self._means.pace

    @contextmanager
    def watching(self, job_id: str, ring: Callable[[], None]) -> Iterator["Watcher"]:
        """A watcher of a job, rung when there is something to take; it watches nothing until told what."""
        watcher = Watcher(self, job_id, ring)
        try:
            yield watcher
        finally:
            watcher.leave()

    def join(self, job_id: str, upstream_id: str, ring: Callable[[], None]) -> Follower | None:
        """The follower of this interaction, started if need be; None where there are too many."""
        if upstream_id not in self._followers:
            if len(self._followers) >= self._limit:
                return None
            follower = Follower(job_id, upstream_id, self._means)
            self._followers[upstream_id] = follower, asyncio.create_task(follower.run())
        follower, _ = self._followers[upstream_id]
        follower.readers.add(ring)
        return follower

    def part(self, follower: Follower, ring: Callable[[], None]) -> None:
        """Take a reader away; the last one takes the follower along."""
        follower.readers.discard(ring)
        if not follower.readers:
            _, task = self._followers.pop(follower.upstream_id)
            task.cancel()

    async def close(self) -> None:
        """End all following."""
        tasks = [task for _, task in self._followers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._means.streamer.close()


class Watcher:
    """One reader: what it watches, and its place there. However slow it is, it holds nothing but a number."""

    def __init__(self, live: Live, job_id: str, ring: Callable[[], None]) -> None:
        self._live = live
        self._job_id = job_id
        self._ring = ring
        self.upstream_id = ""
        """What it watches; empty: nothing."""
        self._follower: Follower | None = None
        self._start = Start()
        self._place: int | None = None
        self._epoch = 0
        self._is_sure = True
        self._seeks_until = 0.0

    def attend(self, upstream_id: str | None, start: Start | None = None) -> None:
        """Watch this interaction from now on, None: nothing; where it is watched already, nothing changes."""
        if (upstream_id or "") != self.upstream_id:
            self.leave()
            self.upstream_id, self._start, self._place = upstream_id or "", start or Start(), None
            self._join()
            if self.upstream_id and self._follower is None:
                count("nightdesk_live_refused_total")

    def retry(self) -> None:
        """Join where there was no room before."""
        if self._follower is None:
            self._join()

    def leave(self) -> None:
        """Watch nothing any more."""
        if self._follower is not None:
            self._live.part(self._follower, self._ring)
        self._follower, self.upstream_id = None, ""

    def take(self) -> list[Piece | Reset]:
        """What there is to be shown next, up to 64 KiB; empty where that is all for now."""
        if self._follower is None:
            return []
        history = self._follower.history
        if self._place is None and not self._find(history):
            return []
        assert self._place is not None, "it was found"
        if self._epoch == history.epoch and history.has(self._place):
            found = history.since(self._place, AT_ONCE_BYTES)
            if self._is_sure or not found or found[0].id is not None:
                self._is_sure |= bool(found)
                self._place += len(found)
                return [*found]
        count("nightdesk_live_resets_total")
        self._epoch, self._place, self._is_sure = history.epoch, history.end, True
        return [history.reset()]

    def _join(self) -> None:
        if not self.upstream_id:
            return
        self._follower = self._live.join(self._job_id, self.upstream_id, self._ring)
        if self._follower is None:
            return
        if self._start.shown:
            loop, seek_s = asyncio.get_running_loop(), self._live.pace.seek_s
            self._seeks_until = loop.time() + seek_s
            loop.call_later(seek_s, self._ring)
        self._find(self._follower.history)

    def _find(self, history: History) -> bool:
        """Find the place to begin at; false while it may yet come."""
        shown = self._start.shown
        if shown is None:
            self._place = 0 if self._start.is_whole or not history.has_steps else NOWHERE
        elif not history.end:
            return False
        else:
            place = history.place_after(shown) if shown else NOWHERE
            if place is None and asyncio.get_running_loop().time() < self._seeks_until:
                return False
            self._place = NOWHERE if place is None else place
            # A piece without an id may follow that was shown, too.
            self._is_sure = False
        self._epoch = history.epoch
        return True
