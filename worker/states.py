"""Statuses of a job and the only moves between them. Pure data: `store` guards every move with it."""

from enum import StrEnum


class Status(StrEnum):
    """What a job is doing; the terminal ones never change."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    STARTING = "starting"
    UNCONFIRMED = "unconfirmed"
    IN_PROGRESS = "in_progress"
    REQUIRES_ACTION = "requires_action"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    BUDGET_EXCEEDED = "budget_exceeded"
    EXPIRED = "expired"


S = Status

TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.INCOMPLETE, S.BUDGET_EXCEEDED, S.EXPIRED})

SETTLED = TERMINAL | {S.REQUIRES_ACTION}
"""Statuses in which nothing happens until the owner acts, if ever."""

IN_FLIGHT = frozenset({S.STARTING, S.UNCONFIRMED, S.IN_PROGRESS, S.CANCELLING})
"""Statuses in which an interaction may live upstream: what the in-flight limits count."""

MOVES: dict[Status, frozenset[Status]] = {
    S.SCHEDULED: frozenset({S.QUEUED, S.CANCELLED, S.FAILED, S.EXPIRED}),
    S.QUEUED: frozenset({S.STARTING, S.CANCELLED, S.EXPIRED}),
    S.STARTING: frozenset({S.IN_PROGRESS, S.QUEUED, S.UNCONFIRMED, S.CANCELLING, S.REQUIRES_ACTION}) | TERMINAL,
    S.UNCONFIRMED: frozenset({S.IN_PROGRESS, S.CANCELLING, S.QUEUED, S.FAILED, S.CANCELLED}),
    S.IN_PROGRESS: frozenset({S.REQUIRES_ACTION, S.QUEUED, S.CANCELLING}) | TERMINAL,
    S.REQUIRES_ACTION: frozenset({S.QUEUED, S.CANCELLED, S.EXPIRED}),
    S.CANCELLING: TERMINAL,
    **{status: frozenset() for status in TERMINAL},
}

EVENTS: dict[Status, str] = {
    S.IN_PROGRESS: "job.started",
    S.REQUIRES_ACTION: "job.requires_action",
    **{status: f"job.{status}" for status in TERMINAL},
}
"""The event that a move to a status writes; moves to the others are nobody's business outside."""

CREATED, STALLED = "job.created", "job.stalled"
EVENT_TYPES = (
    CREATED,
    EVENTS[S.IN_PROGRESS],
    EVENTS[S.REQUIRES_ACTION],
    STALLED,
    *sorted(f"job.{t}" for t in TERMINAL),
)
ENDPOINT_DISABLED, PING = "endpoint.disabled", "webhook.ping"
SUBSCRIBABLE = (*EVENT_TYPES, ENDPOINT_DISABLED, PING)
"""What an endpoint may ask for; a ping comes unasked."""

DEFAULT_EVENTS = frozenset({EVENTS[S.REQUIRES_ACTION], *(EVENTS[status] for status in TERMINAL)})
"""What a `webhook_url` hears of unless `webhook_events` says otherwise."""


def may_move(source: Status, target: Status) -> bool:
    """Whether a job in `source` may ever become `target`."""
    return target in MOVES[source]
