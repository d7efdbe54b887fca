"""Names and addresses: the lookup before an attempt, and the pin that makes aiohttp connect to nothing else.

Lookups run on threads of their own, of each sender one for each name, a few for each zone, and half of all at a time:
the system's resolver gives up only after ten seconds and more, and whoever has zones that do not answer can make any
number of names in them.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from aiohttp.abc import AbstractResolver, ResolveResult

from worker.webhooks.slots import Slots

THREADS, OF_SENDER, OF_ZONE = 128, 64, 8
"""The threads exist only while lookups hang."""

SHARED = frozenset({"ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "mil", "ne", "net", "nom", "or", "org"})
"""What many country codes sell names below, as in co.uk: no list of public suffixes, but the usual ones."""


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


@dataclass(slots=True)
class _Lookup:
    task: asyncio.Task[list[str]]
    begun: asyncio.Event
    waiters: int = 0


class SystemResolver:
    """The operating system's resolver, for one event loop."""

    def __init__(self, find: Callable[[str], list[str]] = system_addresses) -> None:
        self._find = find
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-lookup")
        self._free = asyncio.Semaphore(THREADS)
        self._senders = Slots(OF_SENDER, wait_s=None)
        self._zones = Slots(OF_ZONE, wait_s=None)
        self._lookups: dict[tuple[str, str], _Lookup] = {}

    async def __call__(self, host: str) -> Sequence[str]:
        """Return every address of the name; a sender's posts that ask for it at the same time share one lookup."""
        name = (_sender.get(), host)
        lookup = self._lookups.get(name) or self._begin(name)
        lookup.waiters += 1
        try:
            return await asyncio.shield(lookup.task)
        finally:
            lookup.waiters -= 1
            if not lookup.waiters and not lookup.begun.is_set():
                # In line it would only hold up those who come later.
                self._forget(name, lookup.task)
                lookup.task.cancel()

    def close(self) -> None:
        """Stop without waiting for a lookup that hangs."""
        for lookup in self._lookups.values():
            lookup.task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, name: tuple[str, str]) -> _Lookup:
        begun = asyncio.Event()
        lookup = _Lookup(asyncio.create_task(self._look(*name, begun)), begun)
        self._lookups[name] = lookup
        lookup.task.add_done_callback(lambda done: self._ended(name, done))
        return lookup

    async def _look(self, sender: str, host: str, begun: asyncio.Event) -> list[str]:
        async with self._zones.hold((sender, zone(host))), self._senders.hold(sender), self._free:
            begun.set()
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._find, host)

    def _ended(self, name: tuple[str, str], task: asyncio.Task[list[str]]) -> None:
        self._forget(name, task)
        if not task.cancelled():
            task.exception()  # seen, although every caller may have given up

    def _forget(self, name: tuple[str, str], task: asyncio.Task[list[str]]) -> None:
        if name in self._lookups and self._lookups[name].task is task:
            del self._lookups[name]


def zone(host: str) -> str:
    """The part of a name that one owner has, as well as it can be told without a list of public suffixes."""
    labels = host.split(".")
    is_shared = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in SHARED
    return ".".join(labels[-3:] if is_shared else labels[-2:])


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


@contextmanager
def asked_by(sender: str) -> Iterator[None]:
    """Let this task's lookups be those of this sender."""
    token = _sender.set(sender)
    try:
        yield
    finally:
        _sender.reset(token)


_sender: ContextVar[str] = ContextVar("sender", default="")
_pin: ContextVar[tuple[str, tuple[str, ...]]] = ContextVar("pinned addresses", default=("", ()))


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
