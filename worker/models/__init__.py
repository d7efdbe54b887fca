"""The tables: their columns, constraints and indexes. No queries and no behaviour.

Documents that may hold any text (inputs, results, payloads) are JSON bytes: PostgreSQL's text and JSONB refuse NUL.
Every partial index repeats, word for word, the predicate of the claim that uses it, or the planner cannot use it.
"""

from worker.models.accounts import ApiKey, AuditEntry, Holding, Project, UsageEntry
from worker.models.columns import Sealed, Sealer, UtcDateTime
from worker.models.engine import Counter, Gate, Moment, Sealing
from worker.models.jobs import (
    CANCELLABLE,
    EXPIRING,
    IN_FLIGHT,
    POLLABLE,
    STARTABLE,
    SWEPT,
    Idempotency,
    Interaction,
    Job,
    JobInput,
    Kind,
    Leftover,
    Result,
)
from worker.models.webhooks import Delivery, DeliveryAttempt, Event, WebhookEndpoint

__all__ = [
    "CANCELLABLE",
    "EXPIRING",
    "IN_FLIGHT",
    "POLLABLE",
    "STARTABLE",
    "SWEPT",
    "ApiKey",
    "AuditEntry",
    "Counter",
    "Delivery",
    "DeliveryAttempt",
    "Event",
    "Gate",
    "Holding",
    "Idempotency",
    "Interaction",
    "Job",
    "JobInput",
    "Kind",
    "Leftover",
    "Moment",
    "Project",
    "Result",
    "Sealed",
    "Sealer",
    "Sealing",
    "UsageEntry",
    "UtcDateTime",
    "WebhookEndpoint",
]
