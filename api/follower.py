"""Follows one interaction upstream for everybody in this process who watches its job, for as long as somebody does.

It reconnects after the last event, and from the start where that brings nothing: streams are cut after 600 s, and a
resumed one may replay some events and then hang.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from api.history import History
from worker import telemetry
from worker.gemini.stream import EndKind, StreamEnd, Streamer
from worker.retry import Backoff

AGAIN = Backoff(start_s=0.5, factor=2, cap_s=30, jitter=0.5)
THROTTLED_MIN_S, THROTTLED_MAX_S = 5.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a stream may be silent, the first time and where it was resumed, and when to try again."""

    silence_s: float = 120.0
    resumed_silence_s: float = 60.0
    seek_s: float = 3.0
    """How long a reader's last id may take to be told again before it gets all steps instead."""
    again: Backoff = AGAIN


@dataclass(slots=True)
class Throttle:
    """When the upstream may be asked again, after it said that it was asked too often."""

    until: float = 0.0

    def close(self, for_s: float | None, now: float) -> None:
        """Wait as long as it says, within limits."""
        self.until = max(self.until, now + min(THROTTLED_MAX_S, max(THROTTLED_MIN_S, for_s or 0.0)))


@dataclass(frozen=True, slots=True)
class Means:
    """What all followers of a process share."""

    streamer: Streamer
    pace: Pace
    chance: Callable[[], float]
    ended: Callable[[str, str], Awaitable[None]]
    """Told of job and interaction when a stream says that the run has ended."""
    throttle: Throttle


class Follower:
    """One interaction and its readers, who are rung whenever there is more."""

    def __init__(self, job_id: str, upstream_id: str, means: Means) -> None:
        self.job_id = job_id
        self.upstream_id = upstream_id
        self.history = History()
        self.readers: set[Callable[[], None]] = set()
        self._means = means
        self._ends: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until the interaction has ended, or until cancelled."""
        began = perf_counter()
        outcome = "left"
        try:
            await self._follow()
            outcome = "done"
            await self._means.ended(self.job_id, self.upstream_id)
        except Exception as error:  # noqa: BLE001 - recorded: whoever watches still gets what is stored
            telemetry.crashed("live", error, job_id=self.job_id)
        finally:
            events, connects = self.history.end, sum(self._ends.values())
            telemetry.count("nightdesk_live_events_total", events)
            telemetry.tell("live", began, outcome=outcome, job_id=self.job_id, events=events, connects=connects)

    async def _follow(self) -> None:
        after, failures = None, 0
        while True:
            await self._pause(failures)
            news, end = await self._connect(after)
            self._ends[end.kind] += 1
            telemetry.count("nightdesk_live_streams_total", outcome=end.kind)
            if end.kind == EndKind.DONE:
                return
            if end.kind == EndKind.THROTTLED:
                self._means.throttle.close(end.retry_after_s, asyncio.get_running_loop().time())
            failures = 0 if news else failures + 1
            # What was resumed and brought nothing new hangs or is refused: it is all told again then.
            is_resumable = news or after is None or end.kind in {EndKind.TROUBLE, EndKind.THROTTLED}
            after = self.history.last_event_id if is_resumable else None

    async def _pause(self, failures: int) -> None:
        pause_s = self._means.pace.again.wait_s(failures - 1, self._means.chance()) if failures else 0.0
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(pause_s, self._means.throttle.until - now))

    async def _connect(self, after: str | None) -> tuple[int, StreamEnd]:
        """Take in what one stream tells; gives back how much of it was new, and how it ended."""
        pace, news = self._means.pace, 0
        is_replay = after is None and self.history.end > 0
        silence_s = pace.silence_s if after is None else pace.resumed_silence_s
        async with aclosing(self._means.streamer.follow(self.upstream_id, after, silence_s)) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    return news, event
                if is_replay and not self.history.is_named:
                    self.history.restart()
                is_replay = False
                if self.history.add(event):
                    news += 1
                    self.ring()
        return news, StreamEnd(EndKind.CUT)

    def ring(self) -> None:
        """Tell the readers that there is more."""
        for ring in self.readers:
            ring()
