"""Make the tables of kept conversations, and let a collection keep them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Not in batch mode, which copies the table and drops the old one: that would cascade to all documents.
    kept = sa.Column("keep_conversations", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("collections", kept)
    op.create_table(
        "conversations",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        _of("conversations", "collections", "collection_id"),
        sa.Column("owner", text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_collection_id", "conversations", ["collection_id", "id"])
    op.create_table(
        "turns",
        _of("turns", "conversations", "conversation_id"),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("question", text(), nullable=False),
        sa.Column("question_used", text(), nullable=False),
        sa.Column("status", text(), nullable=False),
        sa.Column("answer", text(), nullable=True),
        sa.Column("citations", sa.JSON(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "ordinal", name=op.f("pk_turns")),
    )


def downgrade() -> None:
    op.drop_table("turns")
    op.drop_table("conversations")
    op.drop_column("collections", "keep_conversations")


def _of(table: str, referred: str, column: str) -> sa.Column[int]:
    name = op.f(f"fk_{table}_{column}_{referred}")
    return sa.Column(
        column, KEY, sa.ForeignKey(f"{referred}.id", name=name, ondelete="CASCADE"), nullable=False
    )
