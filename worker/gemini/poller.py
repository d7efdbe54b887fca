"""Looks at many running interactions at once: raw GETs over one warm pool on the loop thread, answers as they come.

Raw, because the SDK takes thirty times the CPU for each GET; path and key header are the SDK's own. A GET that fails in
any way is an answer of the kind `trouble`: nothing raises, and one straggler never delays the others.
"""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from worker.gemini.access import CONNECT_S, KEEPALIVE_S, Access
from worker.gemini.answer import Answer, AnswerKind, read_answer
from worker.gemini.loop import LoopThread

GROUP_S = 0.1
"""How long an answer waits for company."""
SLACK_S = 5.0
"""How long a task thread waits beyond the time of a fetch before it gives the loop thread up."""
LARGE_BYTES = 1024 * 1024
LARGE_AT_ONCE = 2
MAX_BODY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of polling: `get_s` is for one GET, `fetch_s` for all the GETs of one fetch together."""

    connections: int = 256
    get_s: float = 10.0
    fetch_s: float = 12.0
    max_body_bytes: int = MAX_BODY_BYTES


Groups = SimpleQueue[list[Answer] | None]
"""Groups of answers on their way from the loop to the thread that asked; None ends them."""


@dataclass(slots=True)
class _Group:
    """The answers that wait for company; touched by the loop only."""

    out: Groups
    answers: list[Answer] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        if not self.answers:
            asyncio.get_running_loop().call_later(GROUP_S, self.flush)
        self.answers.append(answer)

    def flush(self) -> None:
        if self.answers:
            self.out.put(self.answers)
            self.answers = []


@dataclass(slots=True)
class _Turn:
    """One GET's turn to hold a large body in memory; passed on to the asking thread together with the body."""

    permits: asyncio.Semaphore
    is_held: bool = False

    async def take(self) -> None:
        if not self.is_held:
            await self.permits.acquire()
            self.is_held = True

    def give_back(self) -> None:
        if self.is_held:
            self.is_held = False
            self.permits.release()


class Poller:
    """One pool of connections for all polling of a process."""

    def __init__(self, access: Access, loop: LoopThread, bounds: Bounds | None = None) -> None:
        self._access = access
        self._loop = loop
        self._bounds = bounds or Bounds()
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(self._bounds.connections)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def fetch(self, upstream_ids: Sequence[str]) -> Generator[list[Answer]]:
        """GET all the interactions concurrently, yield their answers in groups as they arrive, block between groups.

        Every distinct id is answered once, within `fetch_s`. Closing the iterator early cancels what is under way.
        At most two large bodies are in the process at a time: go on to the next group only when done with this one's.
        """
        out: Groups = SimpleQueue()
        future = self._loop.submit(self._fetch(tuple(dict.fromkeys(upstream_ids)), out))
        groups = iter(lambda: self._next(out), None)
        try:
            for group in groups:
                try:
                    yield group
                finally:
                    self._let_go(group)
        finally:
            future.cancel()
            for group in groups:
                self._let_go(group)

    def close(self) -> None:
        """Close the pool; the next fetch opens another."""
        if self._loop.is_running:
            self._loop.run(self._close(), SLACK_S)

    def _next(self, out: Groups) -> list[Answer] | None:
        try:
            return out.get(timeout=self._bounds.fetch_s + SLACK_S)
        except Empty:
            return None

    def _let_go(self, group: list[Answer]) -> None:
        large = sum(map(_is_large, group))
        if large:
            with suppress(RuntimeError):
                self._loop.submit(self._release(large))

    async def _release(self, permits: int) -> None:
        for _ in range(permits):
            self._large.release()

    async def _fetch(self, upstream_ids: tuple[str, ...], out: Groups) -> None:
        group, waiting = _Group(out), set(upstream_ids)
        tasks: list[asyncio.Task[None]] = []
        try:
            session = await self._opened()
            async with asyncio.timeout(self._bounds.fetch_s):
                tasks += [asyncio.create_task(self._answer(session, name, group, waiting)) for name in upstream_ids]
                await asyncio.gather(*tasks)
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for name in waiting:
                group.add(_trouble(name))
            group.flush()
            out.put(None)

    async def _answer(self, session: aiohttp.ClientSession, name: str, group: _Group, waiting: set[str]) -> None:
        turn = _Turn(self._large)
        try:
            async with self._slots:
                answer = await self._get(session, name, turn)
            waiting.discard(name)
            group.add(answer)
            if _is_large(answer):
                turn.is_held = False
        finally:
            turn.give_back()

    async def _get(self, session: aiohttp.ClientSession, name: str, turn: _Turn) -> Answer:
        url = URL(self._access.interaction_url(name) + "?stream=false", encoded=True)
        try:
            async with session.get(url, allow_redirects=False) as response:
                body = await self._body(response, turn)
                if body is None:
                    return Answer(upstream_id=name, kind=AnswerKind.TOO_LARGE, http_status=response.status)
        except Exception:  # noqa: BLE001 - recorded: whatever went wrong, it is looked at again later
            return _trouble(name)
        if len(body) <= LARGE_BYTES:
            return read_answer(name, response.status, response.headers, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, read_answer, name, response.status, response.headers, body)

    async def _body(self, response: aiohttp.ClientResponse, turn: _Turn) -> bytes | None:
        """Read the body, None if it is over the hard cap; a large one is read on only when it is its turn."""
        chunks: list[bytes] = []
        size = response.content_length or 0
        if size > self._bounds.max_body_bytes:
            return None
        size = 0
        while not response.content.at_eof():
            chunk = await response.content.readany()
            chunks.append(chunk)
            size += len(chunk)
            if size > self._bounds.max_body_bytes:
                return None
            if size > LARGE_BYTES:
                await turn.take()
        return b"".join(chunks)

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connections = self._bounds.connections
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60),
                timeout=aiohttp.ClientTimeout(total=self._bounds.get_s, sock_connect=CONNECT_S),
                headers={
                    "x-goog-api-key": self._access.api_key,
                    "Accept": "application/json",
                    "User-Agent": "nightdesk",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=environment_proxy(self._access.base_url),
            )
        return self._session

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _is_large(answer: Answer) -> bool:
    return answer.body is not None and len(answer.body) > LARGE_BYTES


def _trouble(name: str) -> Answer:
    return Answer(upstream_id=name, kind=AnswerKind.TROUBLE)


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy of the environment, as the SDK uses it; looked up once, not for each request."""
    parts = urlsplit(base_url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
