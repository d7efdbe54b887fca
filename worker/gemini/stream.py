"""Follows the stream of one running interaction: raw events for display, as they come, and lastly how it ended.

By aiohttp, as the poller: the SDK builds a model for each event. Nothing raises and nothing here is the truth: streams
are cut after 600 s, resume badly and may fall silent (`upstream.md` 4.4, 5). What an event says never reaches a log.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from worker.gemini.access import CONNECT_S, KEEPALIVE_S, Access
from worker.gemini.events import Frame, Parser
from worker.gemini.poller import environment_proxy
from worker.gemini.refusal import retry_after_s

TOTAL_S = 660.0
"""A little more than the API's own limit."""
COMPLETED, DONE = "interaction.completed", b"[DONE]"


class EndKind(StrEnum):
    """How a stream ended."""

    DONE = "done"
    """The interaction has ended, and all was told."""
    CUT = "cut"
    """In the middle: go on after the last event."""
    SILENT = "silent"
    """Nothing came for too long."""
    REFUSED = "refused"
    """By a 4xx: it knows no such interaction (yet), or no such event."""
    THROTTLED = "throttled"
    """By a 429."""
    TROUBLE = "trouble"
    """Whatever else: try again later."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The last that a stream gives."""

    kind: EndKind
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event: its JSON as it came and as it reads; not every one has an id."""

    id: str | None
    type: str
    data: bytes = field(repr=False)
    value: dict[str, Any] = field(repr=False)


LEFT_OUT = StreamEvent(None, "", b"", {})
"""Stands where an event was too large."""


class Streamer:
    """One pool of connections for the streams of a process; to be used on one event loop."""

    def __init__(self, access: Access, *, total_s: float = TOTAL_S) -> None:
        self._access = access
        self._total_s = total_s
        self._session: aiohttp.ClientSession | None = None

    async def follow(
        self, upstream_id: str, after: str | None, silence_s: float
    ) -> AsyncGenerator[StreamEvent | StreamEnd]:
        """Yield the events after the one named (all without), then how it ended: `silence_s` is the longest pause."""
        parser, has_begun, has_completed = Parser(), False, False
        try:
            async with self._get(upstream_id, after, silence_s) as response:
                if refusal := _refusal(response):
                    yield refusal
                    return
                async for chunk in response.content.iter_any():
                    has_begun = True
                    for frame in parser.feed(chunk):
                        if frame.data == DONE:
                            yield StreamEnd(EndKind.DONE)
                            return
                        event = read_event(frame) if frame.is_whole else LEFT_OUT
                        if event is not None:
                            has_completed |= event.type == COMPLETED
                            yield event
        except Exception as error:  # noqa: BLE001 - recorded: whatever went wrong, it is only display
            is_silent = has_begun and isinstance(error, aiohttp.SocketTimeoutError)
            kind = EndKind.SILENT if is_silent else EndKind.CUT if has_begun else EndKind.TROUBLE
        else:
            kind = EndKind.CUT
        yield StreamEnd(EndKind.DONE if has_completed else kind)

    async def close(self) -> None:
        """Close the pool; the next stream opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _get(self, upstream_id: str, after: str | None, silence_s: float) -> Any:
        resumed = "" if after is None else f"last_event_id={quote(after, safe='')}&"
        url = URL(f"{self._access.interaction_url(upstream_id)}?{resumed}stream=true", encoded=True)
        timeout = aiohttp.ClientTimeout(total=self._total_s, sock_connect=CONNECT_S, sock_read=silence_s)
        return self._opened().get(url, allow_redirects=False, timeout=timeout)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60),
                headers={
                    "x-goog-api-key": self._access.api_key,
                    "Accept": "text/event-stream",
                    # Compressed, an event would wait for the next ones.
                    "Accept-Encoding": "identity",
                    "User-Agent": "nightdesk",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=environment_proxy(self._access.base_url),
            )
        return self._session


def read_event(frame: Frame) -> StreamEvent | None:
    """Return an event of the API's, also of a kind that nobody knows; None where it is no JSON object."""
    try:
        value = orjson.loads(frame.data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    kind, name = value.get("event_type", frame.event), value.get("event_id", frame.id)
    return StreamEvent(
        id=name if isinstance(name, str) and name else None,
        type=kind if isinstance(kind, str) else "",
        data=frame.data,
        value=value,
    )


def _refusal(response: aiohttp.ClientResponse) -> StreamEnd | None:
    """Return how a stream ended that never began."""
    status = response.status
    if status == 200 and response.content_type == "text/event-stream":
        return None
    if status == 429:
        return StreamEnd(EndKind.THROTTLED, retry_after_s(response.headers))
    return StreamEnd(EndKind.REFUSED if 400 <= status < 500 else EndKind.TROUBLE)
