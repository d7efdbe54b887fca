"""What operators asked of the service about endpoints, what they were answered, and what they saw of an endpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from worker.store import audit

REFUSED = "refused"
"""What an operator asks for that is another project's."""

CREATED, CHANGED, DELETED = audit.ENDPOINT_CREATED, audit.ENDPOINT_CHANGED, audit.ENDPOINT_DELETED
ROTATED, PINGED, REPLAYED = audit.ENDPOINT_ROTATED, audit.ENDPOINT_PINGED, audit.ENDPOINT_REPLAYED
REDELIVERED = audit.REDELIVERED
ACTIONS = (CREATED, CHANGED, DELETED, ROTATED, PINGED, REPLAYED, REDELIVERED)
"""As the audit log calls them."""


@dataclass(slots=True)
class Act:
    """One request, never sent twice: whoever is not answered looks what came of it."""

    tenant: str
    request_id: str
    action: str
    subject: str | None
    """The endpoint or the delivery; None where one was to be made and nobody was told which."""
    told: Mapping[str, Any]
    asked_at: float
    status: int = 0
    """0: no answer came."""
    answered_at: float = inf
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether it was answered that it is done."""
        return 200 <= self.status < 300

    @property
    def is_open(self) -> bool:
        """Whether nobody told if it was done."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True, slots=True)
class Sight:
    """An endpoint was seen to be disabled, since when and why."""

    endpoint_id: str
    disabled_at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint is at first, and what it asks for; None: everything."""

    manner: str
    events: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What operators do: endpoints that each project has from the beginning, and at most so many acts after that."""

    places: Sequence[Place] = ()
    acts: int = 0
    every_s: float = 0.7
    manners: Sequence[str] = ()
    """Where endpoints are made or moved to later."""
