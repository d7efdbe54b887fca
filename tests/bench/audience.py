"""A crowd that watches streams over raw connections, as it shares the cores, and notes when each event came to whom."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import cast
from urllib.parse import urlsplit

EVENT_ID = re.compile(rb'"event_id":"(e\d+)"')
ENDED = re.compile(rb'event: job\.completed\ndata: [^\n]*?"created_at":"([^"]+)"')
AT_ONCE = 50


@dataclass
class Audience:
    """What reached the watchers: when each upstream event did, by run, and how late the ends of jobs did."""

    arrivals: defaultdict[tuple[str, bytes], list[float]] = field(default_factory=lambda: defaultdict(list))
    ends_s: list[float] = field(default_factory=list)
    begun: int = 0
    left: int = 0

    @property
    def frames(self) -> int:
        """How many upstream events arrived in all."""
        return sum(map(len, self.arrivals.values()))

    async def watch(self, url: str, run: str, headers: Mapping[str, str], *, many: int = 1) -> None:
        """Open so many streams of this URL, all about one run."""
        parts = urlsplit(url)
        lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join([*lines, "", ""]).encode()
        loop = asyncio.get_running_loop()
        for _ in range(many):
            await loop.create_connection(lambda: _Watcher(self, run, request), str(parts.hostname), parts.port or 80)

    async def until(self, begun: int = 0, left: int = 0, frames: int = 1, within_s: float = 120) -> None:
        """Wait until so many streams have begun, so many have ended, and so many live events have come, if any will."""
        async with asyncio.timeout(within_s):
            while self.begun < begun or self.left < left or (self.frames < frames and self.is_attended):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    @property
    def is_attended(self) -> bool:
        """Whether anybody is there yet, or still."""
        return not self.begun or self.left < self.begun

    def late_s(self, first: "Audience") -> list[float]:
        """How much later than at another audience each event arrived, for each watcher."""
        return [
            at - first.arrivals[event][0]
            for event, moments in self.arrivals.items()
            if event in first.arrivals
            for at in moments
        ]


class _Watcher(asyncio.Protocol):
    """One stream: its events are found in the bytes, whatever stands around them."""

    def __init__(self, audience: Audience, run: str, request: bytes) -> None:
        self._audience = audience
        self._run = run
        self._request = request
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now, audience = time(), self._audience
        if not self._rest and data.startswith(b"HTTP/1.1"):
            assert data.startswith(b"HTTP/1.1 200"), data[:500]
            audience.begun += 1
        content = self._rest + data
        whole, mark, self._rest = content.rpartition(b"\n\n")
        whole += mark
        for found in EVENT_ID.findall(whole):
            audience.arrivals[self._run, found].append(now)
        for found in ENDED.findall(whole):
            audience.ends_s.append(now - datetime.fromisoformat(found.decode()).timestamp())
        if self._rest.endswith(b"0\r\n\r\n") and self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._audience.left += 1
