"""Jobs and what belongs to them alone."""

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from worker.models.columns import Json, Sealed, UtcDateTime, partial
from worker.states import Status

Kind = Literal["model", "agent"]
"""What the target of a job is."""

POLLABLE = "status = 'in_progress' OR (status = 'cancelling' AND cancel_answered_at IS NOT NULL)"
CANCELLABLE = "status = 'cancelling' AND cancel_answered_at IS NULL"
STARTABLE = "status = 'queued'"
SWEPT = "status IN ('scheduled', 'starting', 'unconfirmed')"
EXPIRING = "status IN ('queued', 'requires_action')"
IN_FLIGHT = "status IN ('starting', 'unconfirmed', 'in_progress', 'cancelling')"

BUSY_TABLE = {"autovacuum_vacuum_scale_factor": 0.01, "autovacuum_vacuum_threshold": 1000}
"""Every poll rewrites a row and moves it in an index: vacuum has to keep up with the live rows, not with all."""


class Job(SQLModel, table=True):
    """One job: the truth about it. `due_at` is when the engine must look at it next; None when nobody must.

    A claim sets `claim` (the fence) and moves `due_at` to the claim's end, so that a dead worker's rows fall due by
    themselves. Inputs and results are in tables of their own: this row is read and written at every poll.
    """

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    status: Status = Field(sa_type=sa.String)
    kind: Kind = Field(sa_type=sa.String)
    target: str
    priority: int = Field(sa_type=sa.SmallInteger)
    created_at: datetime = Field(sa_type=UtcDateTime)
    run_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    claim: str | None = None
    was_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    turn: int = 1
    attempt: int = 1
    refusals: int = 0
    sequence: int = 0

    timeout_seconds: float
    queue_timeout_seconds: float
    action_timeout_seconds: float
    max_attempts: int
    on_unknown_create: str
    strict_model: bool = False
    retention_days: int

    interaction_id: str | None = None
    upstream_status: str | None = None
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    polls: int = 0
    last_polled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    thought: str | None = None
    mark: str | None = None
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    stalled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    missing: int = 0
    missing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    settle_tries: int = 0
    ended_seen: bool = False

    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancel_cause: str | None = None
    cancel_answer: str | None = None
    cancel_answered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancelling_since: datetime | None = Field(default=None, sa_type=UtcDateTime)

    previous_job_id: str | None = None
    previous_interaction_id: str | None = None
    retry_of: str | None = None
    conversation_id: str
    environment_id: str | None = None
    is_planning: bool = False
    key_id: str | None = None
    webhook_url: str | None = None
    webhook_events: list[str] | None = Field(default=None, sa_type=Json)
    webhook_config: dict[str, Any] | None = Field(default=None, sa_type=Json)
    user_metadata: dict[str, str] = Field(sa_type=Json, sa_column_kwargs={"name": "metadata"})
    labels: dict[str, str] = Field(sa_type=Json)
    substitutions: list[dict[str, str]] = Field(sa_type=Json)
    notes: list[str] = Field(sa_type=Json)
    required_action: dict[str, Any] | None = Field(default=None, sa_type=Json)
    usage: dict[str, Any] | None = Field(default=None, sa_type=Json)
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    request_id: str | None = None

    __table_args__ = (
        # With `status` in them, though they hold but one or a few: SQLite counts through covering indexes only.
        partial("ix_job_start", STARTABLE, "project_id", "priority", "id", "status"),
        partial("ix_job_poll", POLLABLE, "due_at"),
        partial("ix_job_cancel", CANCELLABLE, "due_at"),
        partial("ix_job_sweep", SWEPT, "due_at"),
        partial("ix_job_deadline", EXPIRING, "deadline_at"),
        partial("ix_job_in_flight", IN_FLIGHT, "target", "status"),
        sa.Index("ix_job_project", "project_id", "id"),
        sa.Index("ix_job_project_status", "project_id", "status", "id"),
        partial("ix_job_previous", "previous_job_id IS NOT NULL", "previous_job_id"),
        sa.Index("ix_job_conversation", "conversation_id", "id"),
        partial("ix_job_finished", "finished_at IS NOT NULL", "finished_at"),
        {"postgresql_with": BUSY_TABLE},
    )

    @property
    def is_adopted(self) -> bool:
        """Whether its interaction was made elsewhere: there is no request to make another from."""
        return self.max_attempts == 0


class JobInput(SQLModel, table=True):
    """The create body of one turn of a job, as JSON bytes: what the user sent, untouched, and sealed.

    Sealed, for it may hold credentials: headers of tools, variables of environments.
    """

    __tablename__ = "job_input"

    job_id: str = Field(primary_key=True, foreign_key="job.id", ondelete="CASCADE")
    turn: int = Field(primary_key=True)
    body: bytes = Field(sa_type=Sealed)


class Interaction(SQLModel, table=True):
    """One create POST, written before it is sent; `token` is the claim that sends it.

    A POST that was surely not accepted takes its row away; so rows count the interactions that may exist upstream.
    """

    token: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="job.id", ondelete="CASCADE", index=True)
    turn: int
    attempt: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    answered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    upstream_id: str | None = Field(default=None, unique=True)
    status: str | None = None
    orphan: bool = False
    usage: dict[str, Any] | None = Field(default=None, sa_type=Json)
    usage_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    usage_tries: int = 0

    __table_args__ = (partial("ix_interaction_usage", "usage_due_at IS NOT NULL", "usage_due_at"),)


class Result(SQLModel, table=True):
    """What one turn gave: `outcome` (text, citations, artifacts) and the raw body without media, as JSON bytes.

    The body is sealed: the API gives the request back in it, tools and environment included.
    """

    job_id: str = Field(primary_key=True, foreign_key="job.id", ondelete="CASCADE")
    turn: int = Field(primary_key=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    has_artifacts: bool
    outcome: bytes
    raw: bytes = Field(sa_type=Sealed)


class Idempotency(SQLModel, table=True):
    """One outcome for each project, path and key; outlives a deleted job, so that a replay is told it is gone."""

    project_id: str = Field(primary_key=True, foreign_key="project.id")
    path: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: str
    job_ids: list[str] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Leftover(SQLModel, table=True):
    """Something outside the database that a removed job left behind: to be removed too, however often it takes."""

    name: str = Field(primary_key=True)
    kind: str
    due_at: datetime = Field(sa_type=UtcDateTime, index=True)
    tries: int = 0
