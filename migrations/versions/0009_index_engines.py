"""Let a release name the engine that keeps its index, and give the database a name for its indexes there."""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import text

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("releases", sa.Column("engine", text(), nullable=True))
    named = sa.Column("index_id", text(32), nullable=False, server_default="")
    op.add_column("identity", named)
    identity = sa.table("identity", sa.column("index_id", text()))
    op.execute(identity.update().values(index_id=uuid.uuid4().hex))


def downgrade() -> None:
    op.drop_column("identity", "index_id")
    op.drop_column("releases", "engine")
