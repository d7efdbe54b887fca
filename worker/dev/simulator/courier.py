"""Sends events when runs end: to the URIs of a create's `webhook_config`, else to the registered webhooks.

At least once: a receiver that does not answer 2xx is tried again a few times. One task looks after all runs.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from worker.dev.simulator.record import ENDED, Record
from worker.dev.simulator.registry import Registry
from worker.dev.simulator.signer import Signer, signature
from worker.dev.simulator.view import error_of, timestamp

TOLD = frozenset({"requires_action", "completed", "failed", "cancelled"})
"""The ends that an event is sent for."""

TRIES_AFTER_S = (0.0, 0.2, 1.0, 3.0)
_TIMEOUT_S = 5.0
_LONG_S = 3600.0
_LIFE_S = 300
_ISSUER = "https://generativelanguage.googleapis.com"


@dataclass(slots=True)
class Rules:
    """How events are sent."""

    deliver: bool = True
    copies: int = 1
    metadata: bool = True
    """Whether a dynamic event carries the metadata, or only the interaction does."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """One event for one address; signed by these secrets, or with a token where there are none."""

    uri: str
    event: dict[str, Any]
    secrets: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")

    @property
    def body(self) -> bytes:
        return orjson.dumps(self.event)


class Courier:
    """Knows which runs are waited for; used from one event loop only."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.rules = Rules()
        self.registry = Registry(now)
        self.signer = Signer()
        self.sent: Counter[str] = Counter()
        """Events by what came of them: delivered, failed, withheld."""
        self._now = now
        self._waiting: list[tuple[float, int, Record]] = []
        self._numbers = count()
        self._changed = asyncio.Event()

    def watch(self, record: Record) -> None:
        """Tell of this run's end, if anybody wants to know."""
        if len(self.registry) or _own_addresses(record):
            heappush(self._waiting, (record.end_s, next(self._numbers), record))
            self._changed.set()

    def look(self) -> None:
        """Some runs may end at other moments than they would have."""
        self._waiting = [(record.end_s, number, record) for _, number, record in self._waiting]
        heapify(self._waiting)
        self._changed.set()

    def reset(self) -> None:
        """Forget all runs and registrations."""
        self.rules = Rules()
        self.registry.clear()
        self.sent.clear()
        self._waiting.clear()

    async def run(self) -> None:
        """Send events until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for record in self._ended():
                    for letter in self._letters(record):
                        group.create_task(self._tell(session, letter))
                await self._wait()

    async def _wait(self) -> None:
        pause_s = self._waiting[0][0] - self._now() if self._waiting else _LONG_S
        try:
            async with asyncio.timeout(max(0.0, pause_s)):
                await self._changed.wait()
        except TimeoutError:
            return

    def _ended(self) -> Iterator[Record]:
        now = self._now()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, record = heappop(self._waiting)
            if record.end_s > now:
                self.watch(record)
            elif record.status(now) in TOLD & ENDED and not record.is_deleted:
                yield record

    def _letters(self, record: Record) -> Iterator[_Letter]:
        """A create's own addresses are told instead of the registered ones."""
        event = self._event(record)
        own = _own_addresses(record)
        yield from (_Letter(uri, event) for uri in own)
        for hook in self.registry if not own else ():
            if hook.hears(event["type"]):
                yield _Letter(hook.uri, event, tuple(hook.live(self._now())))

    async def _tell(self, session: aiohttp.ClientSession, letter: _Letter) -> None:
        if not self.rules.deliver:
            self.sent["withheld"] += 1
            return
        for _ in range(self.rules.copies):
            is_heard = await self._send(session, letter)
            self.sent["delivered" if is_heard else "failed"] += 1

    async def _send(self, session: aiohttp.ClientSession, letter: _Letter) -> bool:
        for wait_s in TRIES_AFTER_S:
            await asyncio.sleep(wait_s)
            try:
                headers = self._headers(letter)
                async with session.post(letter.uri, data=letter.body, headers=headers, allow_redirects=False) as answer:
                    if 200 <= answer.status < 300:
                        return True
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
        return False

    def _headers(self, letter: _Letter) -> dict[str, str]:
        sent_s = int(self._now())
        if letter.secrets:
            signed = " ".join(signature(secret, letter.id, sent_s, letter.body) for secret in letter.secrets)
        else:
            claims = {"iss": _ISSUER, "aud": letter.uri, "iat": sent_s, "exp": sent_s + _LIFE_S, "jti": letter.id}
            signed = self.signer.token(claims)
        return {
            "Content-Type": "application/json",
            "webhook-id": letter.id,
            "webhook-timestamp": str(sent_s),
            "webhook-signature": signed,
        }

    def _event(self, record: Record) -> dict[str, Any]:
        status = record.status(self._now())
        data: dict[str, Any] = {"id": record.id}
        if status == "failed":
            error = error_of(record)
            data |= {"error_code": error["code"], "error_message": error["message"]}
        metadata = (record.request.get("webhook_config") or {}).get("user_metadata")
        if metadata is not None and self.rules.metadata:
            data["user_metadata"] = metadata
        return {"type": f"interaction.{status}", "version": "v1", "timestamp": timestamp(record.end_s), "data": data}


def _own_addresses(record: Record) -> list[str]:
    return list((record.request.get("webhook_config") or {}).get("uris") or [])
