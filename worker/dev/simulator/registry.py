"""The registered (static) webhooks and their secrets, also those that a rotation lets live on. In memory only."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import urandom
from typing import Any
from uuid import uuid4

from worker.dev.simulator.refusal import Refusal
from worker.dev.simulator.view import timestamp

KEPT_S = 24 * 3600.0
_SHOWN = 4


@dataclass(slots=True)
class Hook:
    """One registration."""

    uri: str
    events: list[str]
    """Those it is told of; all of them where it names none."""
    name: str | None = None
    state: str = "enabled"
    created_s: float = 0.0
    id: str = field(default_factory=lambda: f"webhook_{uuid4().hex[:16]}")
    secrets: dict[str, float | None] = field(default_factory=dict)
    """Each with the moment of its end, the newest last."""

    def live(self, now: float) -> list[str]:
        """Return the secrets that still sign."""
        return [secret for secret, until_s in self.secrets.items() if until_s is None or until_s > now]

    def hears(self, event: str) -> bool:
        """Whether it is told of such an event."""
        return self.state == "enabled" and (not self.events or event in self.events)


class Registry:
    """All registrations, oldest first."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._hooks: dict[str, Hook] = {}

    def __iter__(self) -> Iterator[Hook]:
        return iter(self._hooks.values())

    def __len__(self) -> int:
        return len(self._hooks)

    def add(self, uri: str, events: list[str], *, name: str | None = None, secret: str | None = None) -> Hook:
        """Register an address; it gets a secret unless it brings one."""
        hook = Hook(uri, events, name, created_s=self._now())
        hook.secrets[secret or _secret()] = None
        self._hooks[hook.id] = hook
        return hook

    def find(self, hook_id: str) -> Hook:
        """Return a registration; raises Refusal 404."""
        if hook_id not in self._hooks:
            raise Refusal(404, "Webhook not found.", "not_found")
        return self._hooks[hook_id]

    def remove(self, hook_id: str) -> None:
        """Forget a registration; raises Refusal 404."""
        del self._hooks[self.find(hook_id).id]

    def rotate(self, hook: Hook, *, at_once: bool) -> str:
        """Return a new secret; those before it end at once or in a day."""
        until_s = self._now() + (0.0 if at_once else KEPT_S)
        hook.secrets = dict.fromkeys(hook.live(self._now()), until_s) | {(secret := _secret()): None}
        return secret

    def clear(self) -> None:
        """Forget all of them."""
        self._hooks.clear()


def view(hook: Hook, now: float) -> dict[str, Any]:
    """Return a registration as the API shows it: its secrets but for their ends only."""
    ends = {secret: hook.secrets[secret] for secret in hook.live(now)}
    return {
        "id": hook.id,
        "name": hook.name,
        "uri": hook.uri,
        "subscribed_events": hook.events,
        "state": hook.state,
        "create_time": timestamp(hook.created_s),
        "signing_secrets": [
            {"truncated_secret": f"...{secret[-_SHOWN:]}"} | ({"expire_time": timestamp(end)} if end else {})
            for secret, end in ends.items()
        ],
    }


def _secret() -> str:
    return f"whsec_{b64encode(urandom(32)).decode()}"
