"""Make the table of leases."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", text(300), nullable=False),
        sa.Column("holder", text(120), nullable=True),
        sa.Column("token", KEY, nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def downgrade() -> None:
    op.drop_table("leases")
