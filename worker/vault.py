"""Encryption at rest of what must be read back: signing secrets. Knows no table."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from worker.errors import SettingsError

CHECK = "nightdesk"


class Vault:
    """Seals text with a key derived from `ENCRYPTION_KEY`, any string of at least 16 characters."""

    def __init__(self, key: SecretStr) -> None:
        secret = key.get_secret_value()
        if len(secret) < 16:
            raise SettingsError("NIGHTDESK_ENCRYPTION_KEY: must be set, to 16 characters or more")
        digest = hashlib.sha256(b"nightdesk vault " + secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def seal(self, text: str) -> bytes:
        """Encrypt and authenticate."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Decrypt; raises SettingsError where another key sealed it."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise SettingsError("NIGHTDESK_ENCRYPTION_KEY: is not the key this database was made with") from None
