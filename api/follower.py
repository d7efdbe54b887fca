"""Follows one interaction upstream for everybody in this process who watches its job, for as long as somebody does.

It reconnects after the last event, and from the start where that brings nothing: streams are cut after 600 s, and a
resumed one may replay some events and then hang.
"""

import asyncio
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
    healthy_s: float = 5.0
    """How long a stream must have lasted for the next one to follow at once."""
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
        self._connects = 0

    async def run(self) -> None:
        """Follow until the interaction has ended, or until cancelled."""
        began = perf_counter()
        outcome = "left"
        try:
            await self._follow()
            outcome = "done"
            await self._means.ended(self.job_id, self.upstream_id)
        except Exception as error:  # noqa: BLE001 - recorded: whoever watches still gets what is stored
            outcome = "crashed"
            telemetry.crashed("live", error, job_id=self.job_id)
        finally:
            told = {"job_id": self.job_id, "events": self.history.end, "connects": self._connects}
            telemetry.count("nightdesk_live_events_total", self.history.end)
            telemetry.tell("live", began, outcome=outcome, **told)

    async def _follow(self) -> None:
        after, failures, clock = None, 0, asyncio.get_running_loop().time
        while True:
            await self._pause(failures)
            began = clock()
            news, end = await self._connect(after)
            self._connects += 1
            telemetry.count("nightdesk_live_streams_total", outcome=end.kind)
            if end.kind == EndKind.DONE:
                return
            if end.kind == EndKind.THROTTLED:
                self._means.throttle.close(end.retry_after_s, clock())
            # One that is all told again and breaks again must not be asked for in a circle.
            is_healthy = clock() - began >= self._means.pace.healthy_s and (news or end.kind == EndKind.SILENT)
            failures = 0 if is_healthy else failures + 1
            # What was resumed and brought nothing new hangs or is refused: it is all told again then.
            is_resumable = news or after is None or end.kind in {EndKind.TROUBLE, EndKind.THROTTLED}
            after = self.history.last_event_id if is_resumable else None

    async def _pause(self, failures: int) -> None:
        chance = self._means.chance()
        pause_s = self._means.pace.again.wait_s(failures - 1, chance) if failures else 0.0
        throttled_s = self._means.throttle.until - asyncio.get_running_loop().time()
        await asyncio.sleep(max(pause_s, throttled_s * (1 + chance)))

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
