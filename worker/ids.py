"""Public ids: a type prefix and 26 characters that sort by creation time."""

import random
import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new(prefix: str, now_ms: int | None = None) -> str:
    """An id such as `job_01kqzv…`: 48 bits of milliseconds, then 80 random bits, in Crockford's base 32 (as ULIDs)."""
    moment = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    # Not the system's randomness: ids need not be unguessable, and each read of it gives the interpreter lock away.
    number = (moment << 80) | random.getrandbits(80)
    return f"{prefix}_" + "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def token() -> str:
    """A claim: unguessable, so that only the process that took it can record under it."""
    return secrets.token_hex(16)
