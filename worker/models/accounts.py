"""What an installation knows of its tenants: projects, their keys, what they used, hold and did."""

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from worker.models.columns import Json, UtcDateTime


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


class AuditEntry(SQLModel, table=True):
    """Who did what, from where: `actor` is a key's id, `cli:` and a user's name, or `settings`.

    `number` counts a batch's jobs.
    """

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

    __table_args__ = (
        sa.Index("ix_audit_entry_project", "project_id", "id"),
        sa.Index("ix_audit_entry_subject", "project_id", "subject", "id"),
    )
