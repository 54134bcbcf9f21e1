"""Limit keys to collections and to a rate; make the table of page sessions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Keys made before have NULL in both, which is what they could always do: everything, at the default rate.
    op.add_column("api_keys", sa.Column("collections", sa.JSON(), nullable=True))
    op.add_column("api_keys", sa.Column("rate_per_minute", sa.Integer(), nullable=True))
    op.create_table(
        "page_sessions",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("token_hash", text(64), nullable=False),
        sa.Column("key_id", KEY, nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("collections", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("opened_at", sa.DateTime(), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_page_sessions_key_id_api_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_page_sessions_token_hash")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("page_sessions")
    op.drop_column("api_keys", "rate_per_minute")
    op.drop_column("api_keys", "collections")
