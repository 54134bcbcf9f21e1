"""Make the tables of the index life cycle: releases, mass deletes, idempotency keys, an identity."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _make_identity()
    _make_deletions()
    _make_releases()
    _make_golden_queries()
    _make_idempotency_keys()


def downgrade() -> None:
    op.drop_column("documents", "outline")
    op.drop_column("collections", "fusion")
    op.drop_column("collections", "release_id")
    op.drop_column("collections", "deleted_at")
    tables = ("idempotency_keys", "golden_queries", "releases", "deletion_pages", "deletions", "identity")
    for table in tables:
        op.drop_table(table)


def _make_identity() -> None:
    identity = op.create_table(
        "identity",
        sa.Column("database_id", text(32), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("database_id", name=op.f("pk_identity")),
    )
    now = datetime.now(UTC).replace(tzinfo=None)
    op.bulk_insert(identity, [{"database_id": uuid.uuid4().hex, "created_at": now}])


def _make_deletions() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("collection_id", KEY, nullable=False),
        sa.Column("seq", KEY, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        _of_collection("deletions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deletions_seq", "deletions", ["collection_id", "seq"])
    name = op.f("fk_deletion_pages_deletion_id_deletions")
    op.create_table(
        "deletion_pages",
        sa.Column("page", KEY, nullable=False),
        sa.Column("deletion_id", KEY, nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["deletion_id"], ["deletions.id"], name=name, ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("page", "deletion_id", name=op.f("pk_deletion_pages")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_deletion_pages_deletion_id", "deletion_pages", ["deletion_id"])
    op.add_column("collections", sa.Column("deleted_at", sa.DateTime(), nullable=True))


def _make_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("collection_id", KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", text(), nullable=False),
        sa.Column("chunk_max_tokens", sa.Integer(), nullable=False),
        sa.Column("chunk_overlap_tokens", sa.Integer(), nullable=False),
        sa.Column("chunking", text(), nullable=False),
        sa.Column("encoder", text(), nullable=True),
        sa.Column("model_id", text(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("promoted_at", sa.DateTime(), nullable=True),
        _of_collection("releases"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_releases")),
        sa.UniqueConstraint("collection_id", "number", name=op.f("uq_releases_collection_id_number")),
        sqlite_autoincrement=True,
    )
    # Not in batch mode, which copies the table and drops the old one: that would cascade to all documents.
    op.add_column("collections", sa.Column("release_id", KEY, nullable=True))
    op.add_column("collections", sa.Column("fusion", sa.JSON(), nullable=True))
    op.add_column("documents", sa.Column("outline", sa.JSON(), nullable=True))
    _fill_releases()


def _fill_releases() -> None:
    """What each collection serves already is its first release."""
    columns = "collection_id, number, state, chunk_max_tokens, chunk_overlap_tokens, chunking, created_at"
    chunking = "'tokens-' || chunk_max_tokens || '-' || chunk_overlap_tokens"
    values = f"id, 1, 'serving', chunk_max_tokens, chunk_overlap_tokens, {chunking}, created_at"
    op.execute(
        f"INSERT INTO releases ({columns}, promoted_at) SELECT {values}, created_at FROM collections"  # noqa: S608
    )
    op.execute(
        "UPDATE collections SET release_id = "
        "(SELECT releases.id FROM releases WHERE releases.collection_id = collections.id)"
    )


def _make_golden_queries() -> None:
    op.create_table(
        "golden_queries",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("collection_id", KEY, nullable=False),
        sa.Column("query", text(), nullable=False),
        sa.Column("document_ids", sa.JSON(), nullable=False),
        _of_collection("golden_queries"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_queries")),
        sqlite_autoincrement=True,
    )


def _make_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", text(), nullable=False),
        sa.Column("key", text(), nullable=False),
        sa.Column("request_hash", text(64), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _of_collection(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_collection_id_collections")
    return sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], name=name, ondelete="CASCADE")
