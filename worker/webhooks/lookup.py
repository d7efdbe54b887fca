"""Names and addresses: the lookup before an attempt, and the pin that makes aiohttp connect to nothing else.

Lookups run on threads of their own, one for each name at a time: a zone that does not answer holds one thread, not all.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS = 32


class Resolver(Protocol):
    """Finds all addresses of a name; raises OSError or UnicodeError where there are none."""

    async def __call__(self, host: str) -> Sequence[str]:
        """Return the addresses as text."""
        ...


def system_addresses(host: str) -> list[str]:
    """Ask the operating system for all addresses of a name; blocks."""
    # No AI_ADDRCONFIG: on a machine with loopback alone it hides the addresses of localhost.
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class SystemResolver:
    """The operating system's resolver, for one event loop."""

    def __init__(self, find: Callable[[str], list[str]] = system_addresses) -> None:
        self._find = find
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-lookup")
        self._running: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str) -> Sequence[str]:
        """Return every address of the name; callers who ask for it at the same time share one lookup."""
        lookup = self._running.get(host)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, self._find, host)
            self._running[host] = lookup
            lookup.add_done_callback(lambda done: self._forget(host, done))
        return await asyncio.shield(lookup)

    def close(self) -> None:
        """Stop without waiting for a lookup that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, host: str, lookup: asyncio.Future[list[str]]) -> None:
        del self._running[host]
        if not lookup.cancelled():
            lookup.exception()  # seen, although every caller may have given up


class PinnedResolver(AbstractResolver):
    """What aiohttp asks instead of the system: gives back only what `pinned` holds, and for that host alone."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 (aiohttp's interface)
    ) -> list[ResolveResult]:
        """Return the pinned addresses; any other host does not exist."""
        name, addresses = _pin.get()
        if host != name:
            raise OSError("the host was not vetted")
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing to release."""


@contextmanager
def pinned(host: str, addresses: tuple[str, ...]) -> Iterator[None]:
    """Let this task connect to these addresses for this host."""
    token = _pin.set((host, addresses))
    try:
        yield
    finally:
        _pin.reset(token)


_pin: ContextVar[tuple[str, tuple[str, ...]]] = ContextVar("pinned addresses", default=("", ()))


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
