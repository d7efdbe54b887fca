"""Registered webhook endpoints, and the deliveries that go to them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("events", json, nullable=True),
        sa.Column("header_names", json, nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replay_after", sa.String(), nullable=True),
        sa.Column("replay_until", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_webhook_endpoint_project", "webhook_endpoint", ["project_id", "id"])
    _partial("ix_webhook_endpoint_due", "webhook_endpoint", ["due_at"], "due_at IS NOT NULL")
    op.add_column("delivery", sa.Column("event_type", sa.String(), nullable=True))
    op.add_column("delivery", sa.Column("endpoint_id", sa.String(), nullable=True))
    op.add_column("delivery", sa.Column("earlier", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("delivery", sa.Column("is_asked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("delivery", sa.Column("body", sa.LargeBinary(), nullable=True))
    _partial("ix_delivery_held", "delivery", ["due_at"], "status = 'held'")
    _partial("ix_delivery_endpoint", "delivery", ["endpoint_id", "id"], "endpoint_id IS NOT NULL")
    _partial("ix_delivery_endpoint_status", "delivery", ["endpoint_id", "status", "id"], "endpoint_id IS NOT NULL")


def _partial(name: str, table: str, columns: list[str], predicate: str) -> None:
    where = sa.text(predicate)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
