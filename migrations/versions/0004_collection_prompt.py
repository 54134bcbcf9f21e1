"""Let a collection have a prompt of its own."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Not in batch mode, which copies the table and drops the old one: that would cascade to all documents.
    op.add_column("collections", sa.Column("prompt", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("collections", "prompt")
