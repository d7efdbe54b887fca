"""An upstream that tells of its interactions."""

from typing import Any

import orjson
from pydantic import SecretStr

from tests.integration.engine.engine import Engine
from worker import ids
from worker.dev.simulator.signer import signature
from worker.flow.hear import Listener

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://desk.example"


class Upstream:
    """Sends events to one listener, signed with a secret: `tests/integration/api` has those with tokens."""

    def __init__(self, engine: Engine, mode: str = "dynamic") -> None:
        engine.set(gemini_webhooks=mode, public_url=URL, gemini_webhook_secrets=(SecretStr(SECRET),))
        self.engine = engine
        self.listener = Listener(engine.context)

    def tells(
        self, upstream_id: str, *, event_id: str = "", age_s: float = 0, secret: str = SECRET, **data: Any
    ) -> str:
        """What comes of one event."""
        event_id, sent_s = event_id or ids.new("msg"), int(self.engine.clock().timestamp() - age_s)
        body = orjson.dumps({"type": "interaction.completed", "data": {"id": upstream_id, **data}})
        headers = {"webhook-id": event_id, "webhook-timestamp": str(sent_s)}
        return self.listener.hear(headers | {"webhook-signature": signature(secret, event_id, sent_s, body)}, body)
