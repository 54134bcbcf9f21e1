"""Make the table of feedback."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        _of("collections", "collection_id"),
        _of("documents", "document_id"),
        sa.Column("query", text(), nullable=False),
        sa.Column("kind", text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=True),
        sa.Column("end", sa.Integer(), nullable=True),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_collection_id", "feedback", ["collection_id", "id"])
    op.create_index("ix_feedback_document_id", "feedback", ["document_id"])


def downgrade() -> None:
    op.drop_table("feedback")


def _of(table: str, column: str) -> sa.Column[int]:
    name = op.f(f"fk_feedback_{column}_{table}")
    return sa.Column(
        column,
        KEY,
        sa.ForeignKey(f"{table}.id", name=name, ondelete="CASCADE"),
        nullable=False,
    )
