"""Make the tables of jobs and of the items that they go through."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import text

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", text(20), nullable=False),
        sa.Column("kind", text(), nullable=False),
        sa.Column("collection", text(), nullable=True),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("state", text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_table(
        "job_items",
        sa.Column("job_id", text(20), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", text(), nullable=False),
        sa.Column("media_type", text(), nullable=True),
        sa.Column("path", text(), nullable=False),
        sa.Column("state", text(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_items_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name=op.f("pk_job_items")),
    )


def downgrade() -> None:
    op.drop_table("job_items")
    op.drop_table("jobs")
