"""Make the table of the query log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "query_log",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("collection_id", KEY, nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
        sa.Column("kind", text(), nullable=False),
        sa.Column("question", text(), nullable=True),
        sa.Column("question_hash", text(64), nullable=False),
        sa.Column("filter", sa.JSON(), nullable=True),
        sa.Column("mode", text(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=True),
        sa.Column("hits", sa.JSON(), nullable=False),
        sa.Column("status", text(), nullable=True),
        sa.Column("took_ms", sa.Double(), nullable=False),
        sa.Column("request_id", text(64), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name=op.f("fk_query_log_collection_id_collections"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_query_log")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_query_log_collection_id", "query_log", ["collection_id", "id"])
    op.create_index("ix_query_log_asked_at", "query_log", ["asked_at"])


def downgrade() -> None:
    op.drop_table("query_log")
