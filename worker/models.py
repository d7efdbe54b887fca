"""The tables: their columns, constraints and indexes. No queries and no behaviour.

Documents that may hold any text (inputs, results, payloads) are JSON bytes: PostgreSQL's text and JSONB refuse NUL.
Every partial index repeats, word for word, the predicate of the claim that uses it, or the planner cannot use it.
"""

from datetime import UTC, datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from worker.states import Status

POLLABLE = "status = 'in_progress' OR (status = 'cancelling' AND cancel_answered_at IS NOT NULL)"
CANCELLABLE = "status = 'cancelling' AND cancel_answered_at IS NULL"
STARTABLE = "status = 'queued'"
SWEPT = "status IN ('scheduled', 'starting', 'unconfirmed')"
EXPIRING = "status IN ('queued', 'requires_action')"
IN_FLIGHT = "status IN ('starting', 'unconfirmed', 'in_progress', 'cancelling')"

BUSY_TABLE = {"autovacuum_vacuum_scale_factor": 0.01, "autovacuum_vacuum_threshold": 1000}
"""Every poll rewrites a row and moves it in an index: vacuum has to keep up with the live rows, not with all."""


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware UTC moment; SQLite keeps it as text that sorts by time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Naive times are refused: they mean another moment on another machine."""
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """SQLite gives back what was stored without its zone."""
        del dialect
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Sealer(Protocol):
    """What seals bytes on their way into the database and opens them on their way out."""

    def wrap(self, document: bytes) -> bytes:
        """Seal."""

    def unwrap(self, stored: bytes) -> bytes:
        """Open."""


class Sealed(sa.TypeDecorator[bytes]):
    """Bytes that lie sealed in the database, where its engine has a sealer (`database.Database`)."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Seal."""
        sealer: Sealer | None = getattr(dialect, "sealer", None)
        return value if sealer is None or value is None else sealer.wrap(value)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Open; what was stored before there was a sealer is as it was."""
        sealer: Sealer | None = getattr(dialect, "sealer", None)
        return value if sealer is None or value is None else sealer.unwrap(bytes(value))


Json = sa.JSON().with_variant(JSONB(), "postgresql")


def _partial(name: str, predicate: str, *columns: str) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=sa.text(predicate), postgresql_where=sa.text(predicate))


class Project(SQLModel, table=True):
    """Owner of jobs and keys; made in one transaction with its webhook secret (sealed)."""

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    webhook_secret: bytes
    old_webhook_secret: bytes | None = None
    old_webhook_secret_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    max_queued: int | None = Field(default=None, sa_type=sa.BigInteger)
    max_in_flight: int | None = Field(default=None, sa_type=sa.BigInteger)
    max_jobs_per_day: int | None = Field(default=None, sa_type=sa.BigInteger)
    max_tokens_per_day: int | None = Field(default=None, sa_type=sa.BigInteger)
    """None: as the settings have it for every project."""


class ApiKey(SQLModel, table=True):
    """An API key, known by its SHA-256 only."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    name: str
    digest: str = Field(unique=True)
    hint: str
    scopes: list[str] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Job(SQLModel, table=True):
    """One job: the truth about it. `due_at` is when the engine must look at it next; None when nobody must.

    A claim sets `claim` (the fence) and moves `due_at` to the claim's end, so that a dead worker's rows fall due by
    themselves. Inputs and results are in tables of their own: this row is read and written at every poll.
    """

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    status: Status = Field(sa_type=sa.String)
    kind: str
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
        _partial("ix_job_start", STARTABLE, "project_id", "priority", "id", "status"),
        _partial("ix_job_poll", POLLABLE, "due_at"),
        _partial("ix_job_cancel", CANCELLABLE, "due_at"),
        _partial("ix_job_sweep", SWEPT, "due_at"),
        _partial("ix_job_deadline", EXPIRING, "deadline_at"),
        _partial("ix_job_in_flight", IN_FLIGHT, "target", "status"),
        sa.Index("ix_job_project", "project_id", "id"),
        sa.Index("ix_job_project_status", "project_id", "status", "id"),
        _partial("ix_job_previous", "previous_job_id IS NOT NULL", "previous_job_id"),
        sa.Index("ix_job_conversation", "conversation_id", "id"),
        _partial("ix_job_finished", "finished_at IS NOT NULL", "finished_at"),
        {"postgresql_with": BUSY_TABLE},
    )

    @property
    def is_adopted(self) -> bool:
        """Whether its interaction was made elsewhere: there is no request to make another from."""
        return self.max_attempts == 0


class JobInput(SQLModel, table=True):
    """The create body of one turn of a job, as JSON bytes: what the user sent, untouched, and sealed.

    Sealed, for it may hold credentials: headers of tools, variables of environments. What came of it holds none.
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

    __table_args__ = (_partial("ix_interaction_usage", "usage_due_at IS NOT NULL", "usage_due_at"),)


class UsageEntry(SQLModel, table=True):
    """The tokens of one interaction, by kind; outlives its job, so that sums and quotas forget nothing."""

    __tablename__ = "usage_entry"

    token: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    key_id: str | None = None
    conversation_id: str
    job_id: str
    turn: int
    kind: str
    target: str
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    input_tokens: int = Field(sa_type=sa.BigInteger)
    cached_tokens: int = Field(sa_type=sa.BigInteger)
    output_tokens: int = Field(sa_type=sa.BigInteger)
    thought_tokens: int = Field(sa_type=sa.BigInteger)
    tool_use_tokens: int = Field(sa_type=sa.BigInteger)
    total_tokens: int = Field(sa_type=sa.BigInteger)

    __table_args__ = (
        # With the tokens in it: what a project has spent today is read from here alone.
        sa.Index("ix_usage_entry_project", "project_id", "at", "total_tokens"),
        sa.Index("ix_usage_entry_job", "project_id", "job_id"),
        sa.Index("ix_usage_entry_conversation", "project_id", "conversation_id"),
    )


class Holding(SQLModel, table=True):
    """Something that the upstream keeps for a project, by its name there: `files/…`, an environment's id."""

    name: str = Field(primary_key=True)
    kind: str
    project_id: str = Field(foreign_key="project.id")
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Result(SQLModel, table=True):
    """What one turn gave: `outcome` (text, citations, artifacts) and the raw body without media, as JSON bytes."""

    job_id: str = Field(primary_key=True, foreign_key="job.id", ondelete="CASCADE")
    turn: int = Field(primary_key=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    has_artifacts: bool
    outcome: bytes
    raw: bytes


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
        _partial("ix_event_payload", "payload IS NOT NULL", "created_at"),
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
        _partial("ix_webhook_endpoint_due", "due_at IS NOT NULL", "due_at"),
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
        _partial("ix_delivery_due", "status = 'pending'", "due_at"),
        _partial("ix_delivery_held", "status = 'held'", "due_at"),
        sa.Index("ix_delivery_job", "job_id", "id"),
        _partial("ix_delivery_endpoint", "endpoint_id IS NOT NULL", "endpoint_id", "id"),
        _partial("ix_delivery_endpoint_status", "endpoint_id IS NOT NULL", "endpoint_id", "status", "id"),
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


class Idempotency(SQLModel, table=True):
    """One outcome for each project, path and key; outlives a deleted job, so that a replay is told it is gone."""

    project_id: str = Field(primary_key=True, foreign_key="project.id")
    path: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: str
    job_ids: list[str] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class AuditEntry(SQLModel, table=True):
    """Who did what, from where: `actor` is a key's id or `cli:` and a user's name, `number` counts a batch's jobs."""

    __tablename__ = "audit_entry"

    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id")
    at: datetime = Field(sa_type=UtcDateTime)
    action: str
    actor: str
    address: str | None = None
    request_id: str | None = None
    subject: str | None = None
    number: int = 1

    __table_args__ = (sa.Index("ix_audit_entry_project", "project_id", "id"),)


class Leftover(SQLModel, table=True):
    """Something outside the database that a removed job left behind: to be removed too, however often it takes."""

    name: str = Field(primary_key=True)
    kind: str
    due_at: datetime = Field(sa_type=UtcDateTime, index=True)
    tries: int = 0


class Gate(SQLModel, table=True):
    """Whether creates may go to a target, or with the key at all, and when to try again: see `store.gates`."""

    target: str = Field(primary_key=True)
    reason: str | None = None
    paused: bool = False
    closed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closings: int = 0


class Moment(SQLModel, table=True):
    """When something last happened, by name: the tickers' compare-and-set and the signs of life in `/readyz`."""

    name: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)


class Counter(SQLModel, table=True):
    """A metric summed over all processes; `labels` is a JSON object with sorted keys and bounded values."""

    name: str = Field(primary_key=True)
    labels: str = Field(primary_key=True)
    value: float


class Sealing(SQLModel, table=True):
    """The check value of the encryption key: with another key nothing starts."""

    name: str = Field(primary_key=True)
    sealed: bytes
