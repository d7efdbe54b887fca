"""Signatures by the Standard Webhooks specification (https://www.standardwebhooks.com), scheme `v1`.

Owns the secrets' form and the three headers. It never builds a body: it signs what the caller sends, byte for byte.
"""

import base64
import secrets as entropy
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """Make a signing secret: `whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(entropy.token_bytes(SECRET_BYTES)).decode("ascii")


def sign(secrets: Sequence[str], *, event_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """Return the three Standard Webhooks headers for these exact bytes, one `v1` signature for each live secret.

    `body` is UTF-8, as all JSON of ours; other bytes raise ValueError, as does a naive `sent_at` or an empty list.
    """
    if not secrets or sent_at.tzinfo is None:
        raise ValueError("signing needs at least one secret and an aware time")
    # The library overwrites the time zone instead of converting it: another zone's time would be signed hours off.
    sent_at = sent_at.astimezone(UTC)
    # It also takes text and encodes it again; a strict decode of UTF-8 gives the same bytes back or fails.
    text = body.decode("utf-8", errors="strict")
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, sent_at, text) for secret in secrets),
    }
