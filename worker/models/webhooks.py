"""What happened to jobs, and who is told."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from worker.models.columns import Json, UtcDateTime, partial


class Event(SQLModel, table=True):
    """One thing that happened to a job; `payload` is the webhook body, byte for byte, where somebody subscribed."""

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    job_id: str = Field(foreign_key="job.id", ondelete="CASCADE")
    sequence: int
    type: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    data: dict[str, Any] = Field(sa_type=Json)
    payload: bytes | None = None

    __table_args__ = (
        sa.UniqueConstraint("job_id", "sequence"),
        partial("ix_event_payload", "payload IS NOT NULL", "created_at"),
    )


class WebhookEndpoint(SQLModel, table=True):
    """A receiver of a project's events. `due_at` is when the sweep must look at its deliveries next, if at all.

    Secrets and header values are sealed. A deleted one stays, emptied, until the last of its deliveries is cancelled.
    """

    __tablename__ = "webhook_endpoint"

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    url: str
    host: str
    description: str | None = None
    events: list[str] | None = Field(default=None, sa_type=Json)
    header_names: list[str] = Field(sa_type=Json)
    headers: bytes | None = None
    secret: bytes
    old_secret: bytes | None = None
    old_secret_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_reason: str | None = None
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failures: int = 0
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    replay_after: str | None = None
    replay_until: str | None = None

    __table_args__ = (
        sa.Index("ix_webhook_endpoint_project", "project_id", "id"),
        partial("ix_webhook_endpoint_due", "due_at IS NOT NULL", "due_at"),
    )


class Delivery(SQLModel, table=True):
    """One event on its way to one receiver; outlives a removed job and its events, so that its owner sees its end.

    `due_at` is when it is sent next; None with `pending`: it waits for its endpoint to recover; with `held`: when it
    is given up. Of an event without a job, `job_id` is empty and `body` is what is sent.
    """

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    job_id: str
    event_id: str = Field(index=True)
    event_type: str | None = None
    endpoint_id: str | None = None
    url: str
    host: str
    status: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    claim: str | None = None
    attempts: int = 0
    earlier: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    is_asked: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    body: bytes | None = None

    __table_args__ = (
        partial("ix_delivery_due", "status = 'pending'", "due_at"),
        partial("ix_delivery_held", "status = 'held'", "due_at"),
        sa.Index("ix_delivery_job", "job_id", "id"),
        partial("ix_delivery_endpoint", "endpoint_id IS NOT NULL", "endpoint_id", "id"),
        partial("ix_delivery_endpoint_status", "endpoint_id IS NOT NULL", "endpoint_id", "status", "id"),
    )


class DeliveryAttempt(SQLModel, table=True):
    """One POST to a receiver and what it answered: the first 1 KiB at most."""

    __tablename__ = "delivery_attempt"

    delivery_id: str = Field(primary_key=True, foreign_key="delivery.id", ondelete="CASCADE")
    number: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    outcome: str
    http_status: int | None = None
    latency_ms: int
    snippet: str
    error: str | None = None
