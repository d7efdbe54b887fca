"""Encryption at rest of what must be read back: signing secrets, and requests, which may hold credentials of tools.

Of several keys the first seals and each opens, so that a key can be replaced while everything runs. Knows no table.
"""

import base64
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from worker.errors import SettingsError

CHECK = "nightdesk"
MIN_LENGTH = 16
SEALED = b"\x01"
"""Before every sealed document; one in plain JSON, of a release that sealed none, begins otherwise."""

NONCE_BYTES = 12
"""Random, so that a key is good for some billions of documents."""


class Vault:
    """Seals with keys derived from `ENCRYPTION_KEY`: any strings of at least 16 characters, separated by commas."""

    def __init__(self, key: SecretStr) -> None:
        secrets = _keys(key.get_secret_value())
        digests = [hashlib.sha256(b"nightdesk vault " + secret.encode()).digest() for secret in secrets]
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
        documents = [hashlib.sha256(b"nightdesk vault documents " + secret.encode()).digest() for secret in secrets]
        self._ciphers = [AESGCM(digest) for digest in documents]

    def seal(self, text: str) -> bytes:
        """Encrypt and authenticate."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Decrypt; raises SettingsError where another key sealed it."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise _foreign() from None

    def reseal(self, sealed: bytes) -> bytes:
        """The same text, sealed by the first key; raises SettingsError."""
        return self.seal(self.open(sealed))

    def wrap(self, document: bytes) -> bytes:
        """Encrypt and authenticate bytes of any size: a microsecond for a usual request, 25 ms for 20 MB."""
        nonce = os.urandom(NONCE_BYTES)
        return SEALED + nonce + self._ciphers[0].encrypt(nonce, document, None)

    def unwrap(self, stored: bytes) -> bytes:
        """What was wrapped, or was stored as it is; raises SettingsError where another key wrapped it."""
        if not stored.startswith(SEALED):
            return stored
        start = len(SEALED) + NONCE_BYTES
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(stored[len(SEALED) : start], stored[start:], None)
            except InvalidTag:
                continue
        raise _foreign()


def _keys(text: str) -> list[str]:
    """The first seals. The whole is a key, too: there may be commas in one of a time when there was but one."""
    if len(text) < MIN_LENGTH:
        raise SettingsError(f"NIGHTDESK_ENCRYPTION_KEY: must be set, to {MIN_LENGTH} characters or more")
    keys = [key.strip() for key in text.split(",")]
    return list(dict.fromkeys([*keys, text])) if min(map(len, keys)) >= MIN_LENGTH else [text]


def _foreign() -> SettingsError:
    return SettingsError("NIGHTDESK_ENCRYPTION_KEY: is not the key this database was made with")
