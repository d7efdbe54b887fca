"""The one way out: a single guarded POST to a receiver, for pings, deliveries and replays alike.

Resolves once, vets every address, connects to those alone, follows nothing, reads little. It never raises for anything
a receiver or a network does, and does not decide what follows from a reply.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Self

import aiohttp
from yarl import URL

from worker.errors import AddressRefused
from worker.webhooks.address import Policy, Target, check_url, vet
from worker.webhooks.headers import headers_fault
from worker.webhooks.lookup import PinnedResolver, Resolver, SystemResolver, asked_by, pinned
from worker.webhooks.reply import Reply, ReplyKind, ResolveError, answered, failed, retry_after_s
from worker.webhooks.slots import Slots

MAX_ANSWER = 16 * 1024
KEEPALIVE_S = 4.0  # shorter than the five seconds after which many servers hang up


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one attempt; a post takes at most `slot_wait_s` + `total_s`, to be less than the delivery's claim."""

    connect_s: float = 5.0
    total_s: float = 15.0
    slot_wait_s: float = 2.0
    per_host: int = 8
    """For each sender."""


DEFAULT_LIMITS = Limits()


class Egress:
    """An HTTP client for one event loop; make it inside the running loop and close it there."""

    def __init__(
        self,
        policy: Policy,
        version: str,
        *,
        limits: Limits = DEFAULT_LIMITS,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._slots = Slots(limits.per_host, limits.slot_wait_s)
        self._system = SystemResolver()
        self._resolver = resolver or self._system
        self._session = _session(version, limits, tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; attempts under way fail."""
        await self._session.close()
        self._system.close()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, sent_at: datetime, sender: str = ""
    ) -> Reply:
        """Send `body` as it is and say what came back; `sent_at` is now: a `Retry-After` date counts from it.

        What one sender has under way at a host holds up none of another.
        """
        started = asyncio.get_running_loop().time()
        with asked_by(sender):
            reply = await self._outcome(url, body, headers, sent_at, sender)
        return replace(reply, latency_ms=round((asyncio.get_running_loop().time() - started) * 1000))

    async def _outcome(
        self, url: str, body: bytes, headers: Mapping[str, str], sent_at: datetime, sender: str
    ) -> Reply:
        try:
            target = check_url(url, self._policy)
            if fault := headers_fault(headers):
                return Reply(ReplyKind.REFUSED, detail=fault)
            async with self._slots.hold((sender, target.host)) as is_held:
                if not is_held:
                    return Reply(ReplyKind.BUSY, detail="too many attempts to this host are under way")
                return await self._attempt(target, body, headers, sent_at)
        except AddressRefused as error:
            return Reply(ReplyKind.REFUSED, detail=str(error))
        except (ResolveError, aiohttp.ClientError, OSError) as error:
            return failed(error)

    async def _attempt(self, target: Target, body: bytes, headers: Mapping[str, str], sent_at: datetime) -> Reply:
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + self._limits.total_s
        async with asyncio.timeout_at(deadline):
            with pinned(target.host, await self._addresses(target)):
                response = await self._send(target, body, headers)
        head = await _read(response, deadline)
        now = sent_at + timedelta(seconds=loop.time() - started)
        return answered(response.status, head, retry_after_s(response.headers.get("Retry-After"), now=now))

    async def _addresses(self, target: Target) -> tuple[str, ...]:
        # aiohttp asks no resolver about a literal address: it connects to the one that `check_url` vetted.
        if target.address is not None:
            return (str(target.address),)
        try:
            async with asyncio.timeout(self._limits.connect_s):
                found = await self._resolver(target.host)
        except TimeoutError:
            raise ResolveError("the name was not resolved in time") from None
        except (OSError, UnicodeError):
            raise ResolveError("the name could not be resolved") from None
        if not found:
            raise ResolveError("the name has no address")
        return vet(found, self._policy)

    async def _send(self, target: Target, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        url = URL(target.url, encoded=True)
        while True:
            connection = SimpleNamespace(is_reused=False)
            try:
                return await self._session.post(
                    url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=connection
                )
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                # A kept connection may be dead without our knowing; that is no failure of the receiver.
                if not connection.is_reused or self._session.closed:
                    raise


async def _read(response: aiohttp.ClientResponse, deadline: float) -> bytes:
    """Read at most 16 KiB. The status has decided already: a body that hangs, breaks or never ends changes nothing."""
    head = bytearray()
    try:
        with suppress(aiohttp.ClientError, OSError):
            async with asyncio.timeout_at(deadline):
                while len(head) < MAX_ANSWER and (chunk := await response.content.read(MAX_ANSWER - len(head))):
                    head += chunk
    finally:
        response.close()  # a connection whose body was read to its end is back in the pool by now
    return bytes(head)


def _session(version: str, limits: Limits, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    # No limit in the connector: with one, a hundred attempts to dead hosts would hold up all others.
    connector = aiohttp.TCPConnector(
        resolver=PinnedResolver(),
        use_dns_cache=False,
        ssl=tls or True,
        limit=0,
        keepalive_timeout=KEEPALIVE_S,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect_s, sock_connect=limits.connect_s),
        headers={
            "User-Agent": f"Nightdesk/{version}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        },
        trust_env=False,
        auto_decompress=False,
        read_bufsize=MAX_ANSWER,
        trace_configs=[_reuse_trace()],
    )


def _reuse_trace() -> aiohttp.TraceConfig:
    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace
