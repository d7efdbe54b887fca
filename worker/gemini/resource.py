"""One interaction as a GET shows it, as far as somebody who did not make it must know it. Pure.

Its texts go into rows and indexes, so they are kept to what a database takes; nothing of its output is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from worker.gemini import clean
from worker.gemini.answer import ENDED, short
from worker.gemini.rules import FIELDS
from worker.gemini.tables import Kind

ID_MAX = 512
TARGET_MAX = 256

_ECHOED = FIELDS - {"model", "agent", "input", "previous_interaction_id", "extra_body"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An interaction that exists upstream: who runs it and how it stands."""

    upstream_id: str
    kind: Kind
    target: str
    status: str
    previous_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the resource repeats of its create, input left out."""
    user_metadata: Any = field(default=None, repr=False)
    """What its create asked to be told with each event, whatever it is."""

    @property
    def has_ended(self) -> bool:
        """Whether the next look will settle it."""
        return self.status in ENDED


def read_resource(asked_id: str, body: bytes) -> Resource | None:
    """Return what a 2xx body says; None where it names no status, or no model or agent that a job could have."""
    value = clean.parse_object(body)
    clean.tidy(value, has_nul=False)
    # The resource's own spelling of its id: the same run must not be known by two.
    upstream_id = value["id"] if is_id(value.get("id")) else asked_id
    status, agent, model = value.get("status"), value.get("agent"), value.get("model")
    target = agent or model
    if not isinstance(status, str) or not status or not _is_target(target):
        return None
    previous, webhook = value.get("previous_interaction_id"), value.get("webhook_config")
    return Resource(
        upstream_id=upstream_id,
        kind="agent" if agent else "model",
        target=target,
        status=short(status),
        previous_id=previous if is_id(previous) else None,
        labels=_labels(value.get("labels")),
        request={name: value[name] for name in sorted(_ECHOED & value.keys()) if value[name] is not None},
        user_metadata=webhook.get("user_metadata") if isinstance(webhook, Mapping) else None,
    )


def is_id(value: Any, most: int = ID_MAX) -> TypeGuard[str]:
    """Whether this may be an interaction's id: ids are opaque, but for what no database or URL would take."""
    return isinstance(value, str) and len(value) > 0 and value.isprintable() and len(value.encode()) <= most


def _is_target(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= TARGET_MAX and value.isprintable() and " " not in value


def _labels(value: Any) -> dict[str, str]:
    given = value if isinstance(value, Mapping) else {}
    return {name: text for name, text in given.items() if isinstance(text, str) and (name + text).isprintable()}
