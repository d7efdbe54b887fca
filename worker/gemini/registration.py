"""The registration of our address with the API, for its static events: through the SDK, one request for each call.

For an operator's command: blocking, and its errors say what to do. Secrets are given back, never kept or logged.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from worker.errors import UpstreamError
from worker.gemini.access import Access, segment
from worker.gemini.loop import LoopThread
from worker.gemini.wire import sdk_client, talk

EVENTS = ("interaction.completed", "interaction.failed", "interaction.requires_action", "interaction.cancelled")
NAME = "nightdesk"
ENABLED = "enabled"
TIMEOUT_S = 15.0
SLACK_S = 5.0
MAX_PAGES = 20
AFTER_A_DAY, AT_ONCE = "revoke_previous_secrets_after_h24", "revoke_previous_secrets_immediately"


@dataclass(frozen=True, slots=True)
class Registration:
    """A webhook as the API has it; of its secrets the last characters are known, and when they end."""

    id: str
    uri: str
    state: str
    events: tuple[str, ...]
    secrets: tuple[tuple[str, str | None], ...]


class Registrar:
    """The calls about registered webhooks; close it at the end."""

    def __init__(self, access: Access, loop: LoopThread) -> None:
        self._loop = loop
        self._client = sdk_client(access, 1)

    def find(self, uri: str) -> Registration | None:
        """Return the webhook that is registered for an address."""
        token = None
        for _ in range(MAX_PAGES):
            page = self._call(partial(_page, token))
            found = [_read(item) for item in page.get("webhooks") or () if isinstance(item, dict)]
            if mine := next((one for one in found if one.uri == uri), None):
                return mine
            token = page.get("next_page_token")
            if not token:
                return None
        raise UpstreamError("there are too many webhooks to look through")

    def register(self, uri: str) -> tuple[Registration, str]:
        """Register an address; gives back its signing secret, which the API shows this once."""
        made = self._call(lambda calls: calls.create(name=NAME, uri=uri, subscribed_events=list(EVENTS)))
        return _read(made), _secret(made, "new_signing_secret")

    def enable(self, hook_id: str) -> Registration:
        """Let a webhook that was disabled be told again."""
        return _read(self._call(lambda calls: calls.update(segment(hook_id), state=ENABLED)))

    def rotate(self, hook_id: str, *, at_once: bool) -> str:
        """Return a new signing secret; those before it end in a day, or at once."""
        until = AT_ONCE if at_once else AFTER_A_DAY
        answer = self._call(lambda calls: calls.rotate_signing_secret(segment(hook_id), revocation_behavior=until))
        return _secret(answer, "secret")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._loop.run(self._client.aio.aclose(), SLACK_S)

    def _call(self, call: Callable[[Any], Awaitable[Any]]) -> dict[str, Any]:
        reply = self._loop.run(talk(self._client, call, TIMEOUT_S, resource="webhooks"), TIMEOUT_S + SLACK_S)
        if reply.refusal is not None:
            code = f" {reply.refusal.code}" if reply.refusal.code else ""
            raise UpstreamError(f"the Gemini API answered HTTP {reply.refusal.status}{code}", status=reply.status)
        if reply.status is None:
            raise UpstreamError(f"the Gemini API did not answer: {reply.trouble}")
        try:
            answer = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise UpstreamError("the Gemini API's answer cannot be read", status=reply.status)
        return answer


async def _page(token: str | None, calls: Any) -> Any:
    return await calls.list(page_token=token)


def _read(item: dict[str, Any]) -> Registration:
    secrets = [one for one in item.get("signing_secrets") or () if isinstance(one, dict)]
    return Registration(
        id=str(item.get("id", "")),
        uri=str(item.get("uri", "")),
        state=str(item.get("state", "unknown")),
        events=tuple(map(str, item.get("subscribed_events") or ())),
        secrets=tuple((str(one.get("truncated_secret", "")), one.get("expire_time")) for one in secrets),
    )


def _secret(answer: dict[str, Any], name: str) -> str:
    secret = answer.get(name)
    if not isinstance(secret, str) or not secret:
        raise UpstreamError("the Gemini API's answer has no signing secret: rotate to get one")
    return secret
