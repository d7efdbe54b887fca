"""How often a key may ask: submissions and reads apart, a minute's worth at once.

Each process decides by itself and at once. Once a second it tells the others through Redis what it let pass, and takes
off what they did: so a key's limit holds over all processes but for about that second, and while Redis is away each
process allows the whole of it.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, time

from starlette.concurrency import run_in_threadpool

from api.bucket import MINUTE_S, Bucket
from api.errors import RateLimited
from worker.app import Sender
from worker.settings import Settings
from worker.telemetry import count

READ, SUBMIT = "read", "submit"
SHARE_EVERY_S = 1.0
SHARED_AT_ONCE = 1000
"""Keys that one exchange is about: the others are told of a second later."""

NAME = "nightdesk.rate"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the `RateLimit-*` headers of an answer say; `reset_s` is when everything is free again."""

    kind: str
    limit: int
    remaining: int
    reset_s: int


@dataclass(slots=True)
class _Account:
    """One key's bucket, what it let pass since it was last told, and what this minute had when it was."""

    bucket: Bucket
    untold: int = 0
    minute: int = 0
    own: int = 0
    others: int = 0


@dataclass(slots=True)
class Rates:
    """Use it on one event loop. A limit of 0 is none."""

    limits: dict[str, int]
    _accounts: dict[tuple[str, str], _Account] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "Rates":
        """As the settings have them."""
        return cls({READ: settings.rate_limit_read, SUBMIT: settings.rate_limit_submit})

    def take(self, key_id: str, kind: str, now: float) -> Standing | None:
        """Count a request; raises RateLimited where it is one too many. None: there is no limit."""
        limit = self.limits[kind]
        if not limit:
            return None
        account = self._accounts.get((key_id, kind))
        if account is None:
            account = self._accounts[key_id, kind] = _Account(Bucket(limit, limit, now))
        bucket = account.bucket
        if not bucket.take(now):
            count("nightdesk_rate_limited_total", kind=kind)
            what = "submissions" if kind == SUBMIT else "reads"
            message = f"this API key may make {limit:,} {what} a minute"
            raise RateLimited(message, limit=limit, retry_after_s=bucket.next_s(), kind=kind)
        account.untold += 1
        return Standing(kind, limit, int(bucket.left), bucket.full_s())

    async def keep(self, sender: Sender) -> None:
        """Tell the other processes and hear of them, until cancelled."""
        while True:
            await asyncio.sleep(SHARE_EVERY_S)
            self._forget(monotonic())
            minute = int(time() // MINUTE_S)
            amounts = self._told(minute)
            sums = await run_in_threadpool(sender.share, amounts, int(2 * MINUTE_S)) if amounts else {}
            self._hear(amounts, sums, minute, monotonic())

    def _forget(self, now: float) -> None:
        """A full bucket is as good as none."""
        done = [name for name, one in self._accounts.items() if not one.untold and one.bucket.is_full(now)]
        for name in done:
            del self._accounts[name]

    def _told(self, minute: int) -> dict[str, int]:
        chosen = list(islice(self._accounts.items(), SHARED_AT_ONCE))
        for name, account in chosen:
            # Told first is asked last the next time.
            self._accounts[name] = self._accounts.pop(name)
            if account.minute != minute:
                account.minute, account.own, account.others = minute, 0, 0
        return {self._name(name, minute): account.untold for name, account in chosen}

    def _hear(self, amounts: dict[str, int], sums: dict[str, int] | None, minute: int, now: float) -> None:
        if sums is None:
            # Told when Redis is back, an outage's worth would be taken off at once, and refuse everything elsewhere.
            for account in self._accounts.values():
                account.untold = 0
            return
        for name, account in self._accounts.items():
            told = self._name(name, minute)
            if told not in sums:
                continue
            account.untold -= amounts[told]
            account.own += amounts[told]
            others = sums[told] - account.own
            account.bucket.lose(max(0, others - account.others), now)
            account.others = others

    @staticmethod
    def _name(name: tuple[str, str], minute: int) -> str:
        return f"{NAME}:{name[1]}:{name[0]}:{minute}"
