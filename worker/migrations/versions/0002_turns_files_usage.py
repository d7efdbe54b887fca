"""What conversations, uploaded files, usage and the Gemini-compatible door keep."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("environment_id", sa.String(), nullable=True))
    op.add_column("job", sa.Column("is_planning", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("job", sa.Column("key_id", sa.String(), nullable=True))
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("job", sa.Column("webhook_config", json, nullable=True))
    op.add_column("interaction", sa.Column("usage_due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("interaction", sa.Column("usage_tries", sa.Integer(), nullable=False, server_default="0"))
    owed = sa.text("usage_due_at IS NOT NULL")
    op.create_index("ix_interaction_usage", "interaction", ["usage_due_at"], sqlite_where=owed, postgresql_where=owed)
    op.create_table(
        "usage_entry",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.Column(f"{kind}_tokens", sa.BigInteger(), nullable=False)
            for kind in ("input", "cached", "output", "thought", "tool_use", "total")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("ix_usage_entry_at", "usage_entry", ["at"])
    op.create_index("ix_usage_entry_project", "usage_entry", ["project_id", "at", "total_tokens"])
    op.create_index("ix_usage_entry_job", "usage_entry", ["project_id", "job_id"])
    op.create_index("ix_usage_entry_conversation", "usage_entry", ["project_id", "conversation_id"])
    op.create_table(
        "holding",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_holding_expires_at", "holding", ["expires_at"])
