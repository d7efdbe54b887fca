"""Secrets in rotation: which sign now, and what becomes of one that is replaced.

Old secrets lie sealed together, so that each signs along for its whole OVERLAP, however soon the next is replaced,
unless more than MOST_OLD are within it.
"""

from datetime import datetime, timedelta

import orjson

from worker.vault import Vault

OVERLAP = timedelta(hours=24)
MOST_OLD = 4
"""Old secrets that sign along at once: each makes the header of every delivery longer."""


def live(vault: Vault, secret: bytes, old: bytes | None, old_until: datetime | None, now: datetime) -> list[str]:
    """The secrets that sign now, the newest first."""
    return [vault.open(secret), *(text for text, until in _old(vault, old, old_until) if until > now)]


def retire(
    vault: Vault, secret: bytes, old: bytes | None, old_until: datetime | None, now: datetime
) -> tuple[bytes, datetime]:
    """The old secrets, once `secret` is one of them, and when the last of them ends."""
    until = now + OVERLAP
    kept = [(text, end) for text, end in _old(vault, old, old_until) if end > now][: MOST_OLD - 1]
    if not kept:
        return secret, until
    together = [(vault.open(secret), until), *kept]
    return vault.seal(orjson.dumps(together).decode()), until


def _old(vault: Vault, sealed: bytes | None, until: datetime | None) -> list[tuple[str, datetime]]:
    """One alone is sealed as it is, its end beside it."""
    if not sealed or until is None:
        return []
    text = vault.open(sealed)
    if not text.startswith("["):
        return [(text, until)]
    return [(secret, datetime.fromisoformat(end)) for secret, end in orjson.loads(text)]
