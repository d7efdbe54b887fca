"""API keys: how they look, how they are stored (SHA-256 only: they are random), and what they may do."""

import hashlib
import secrets
from dataclasses import dataclass

from worker.errors import SettingsError

PREFIX = "nd_"
SCOPES = ("jobs:read", "jobs:write", "webhooks:write", "admin")
MIN_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key, shown once."""

    token: str
    digest: str
    hint: str


def issue() -> Issued:
    """A key of 256 random bits."""
    return describe(PREFIX + secrets.token_urlsafe(32))


def describe(token: str) -> Issued:
    """What is stored of a key; raises SettingsError for one that is too short or lacks the prefix."""
    if not token.startswith(PREFIX) or len(token) < MIN_LENGTH:
        raise SettingsError(f"an API key starts with {PREFIX} and has at least {MIN_LENGTH} characters")
    return Issued(token=token, digest=digest(token), hint=token[:7] + "…")


def digest(token: str) -> str:
    """How a key is looked up."""
    return hashlib.sha256(token.encode()).hexdigest()
