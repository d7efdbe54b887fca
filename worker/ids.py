"""Public ids: a type prefix and 26 characters that sort by creation time."""

import random
import secrets
import threading
import time
from datetime import datetime

_lock = threading.Lock()
_last = [0]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


def new(prefix: str, now: datetime | None = None) -> str:
    """An id such as `job_01kqzv…`: 48 bits of milliseconds, then 80 random bits, in Crockford's base 32 (as ULIDs)."""
    moment_ms = time.time_ns() // 1_000_000 if now is None else _milliseconds(now)
    # Not the system's randomness: ids need not be unguessable, and each read of it gives the interpreter lock away.
    return _name(prefix, _after(moment_ms << 80, random.getrandbits(79)))


def _after(moment: int, chance: int) -> int:
    """Those of one process and millisecond sort in the order in which they were made, as ULIDs may."""
    with _lock:
        last = _last[0]
        number = moment | chance if last >> 80 != moment >> 80 else last + 1 + (chance >> 47)
        _last[0] = number
        return number


def _name(prefix: str, number: int) -> str:
    return f"{prefix}_" + "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def first(prefix: str, moment: datetime, *, after_ms: int = 0) -> str:
    """What no id made so long after that moment, or later, is less than: ids sort by their time."""
    return _name(prefix, _milliseconds(moment) + after_ms << 80)


def _milliseconds(moment: datetime) -> int:
    """Since 1970: before, no id was made."""
    return max(0, int(moment.timestamp() * 1000))


def token() -> str:
    """A claim: unguessable, so that only the process that took it can record under it."""
    return secrets.token_hex(16)
