"""Signs events as Google does: dynamic ones with an RS256 JWT of a published key, static ones by Standard Webhooks."""

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from standardwebhooks import Webhook

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

_BITS = 2048
ALGORITHM = "RS256"


class Signer:
    """A key of one run of the simulator, made when it is first needed."""

    def __init__(self) -> None:
        self.key_id = uuid4().hex

    @cached_property
    def _key(self) -> "rsa.RSAPrivateKey":
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - megabytes that few runs need

        return rsa.generate_private_key(public_exponent=65537, key_size=_BITS)

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a key set."""
        import jwt  # noqa: PLC0415 - the same

        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.key_id, "alg": ALGORITHM, "use": "sig"}]}

    def token(self, claims: dict[str, Any]) -> str:
        """Return a JWT of these claims."""
        import jwt  # noqa: PLC0415 - the same

        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})


def signature(secret: str, event_id: str, sent_s: int, body: bytes) -> str:
    """Return the `webhook-signature` of a static event."""
    return Webhook(secret).sign(event_id, datetime.fromtimestamp(sent_s, UTC), body.decode())
