"""Who tries keys that do not exist: slowed down by address, and all of them together, before the database is asked.

A try is taken off before the key is looked up and given back where it was a good one. Keys that the keyring knows or
recalls are never slowed: so an address may well be shared with somebody who guesses.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from api.bucket import Bucket
from api.errors import RateLimited

MAX_ADDRESSES = 10_000
"""Addresses remembered: beyond, whoever tried longest ago is forgotten."""

TOGETHER = 20
"""All addresses together may fail so many times as often as one."""

SUBNET = 64
"""Bits of an IPv6 address that tell customers apart: whoever has one has all addresses of its network."""


class Strangers:
    """Use it on one event loop; of no limit where `per_minute` is 0."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._all = Bucket(per_minute * TOGETHER, per_minute * TOGETHER, 0.0)
        self._seen: OrderedDict[str, Bucket] = OrderedDict()

    def admit(self, address: str | None, now: float) -> None:
        """Let an unknown key be looked up; raises RateLimited where too many were wrong."""
        if not self._per_minute:
            return
        mine = self._bucket(place(address), now)
        for bucket in (mine, self._all):
            if not bucket.take(now):
                message = "too many requests with an unknown API key"
                raise RateLimited(message, limit=bucket.per_minute, retry_after_s=bucket.next_s())

    def pardon(self, address: str | None, now: float) -> None:
        """The key was good."""
        if self._per_minute:
            self._bucket(place(address), now).gain(1, now)
            self._all.gain(1, now)

    def _bucket(self, name: str, now: float) -> Bucket:
        bucket = self._seen.pop(name, None) or Bucket(self._per_minute, self._per_minute, now)
        self._seen[name] = bucket
        if len(self._seen) > MAX_ADDRESSES:
            self._seen.popitem(last=False)
        return bucket


def place(address: str | None) -> str:
    """What counts as one address: an IPv6 network is one customer's."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed), SUBNET), strict=False))
    return str(parsed)
