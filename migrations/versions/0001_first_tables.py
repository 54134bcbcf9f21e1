"""Make the first tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.column_types import KEY, text

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("name", text(), nullable=False),
        sa.Column("token_hash", text(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_keys_token_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "collections",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("name", text(64), nullable=False),
        sa.Column("chunk_max_tokens", sa.Integer(), nullable=False),
        sa.Column("chunk_overlap_tokens", sa.Integer(), nullable=False),
        sa.Column("refusal_threshold", sa.Double(), nullable=True),
        sa.Column("last_seq", KEY, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collections")),
        sa.UniqueConstraint("name", name=op.f("uq_collections_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "documents",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("collection_id", KEY, nullable=False),
        sa.Column("external_id", text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fingerprint", text(64), nullable=False),
        sa.Column("seq", KEY, nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("title", text(), nullable=True),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name=op.f("fk_documents_collection_id_collections"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint(
            "collection_id", "external_id", name=op.f("uq_documents_collection_id_external_id")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_documents_seq", "documents", ["collection_id", "seq"])
    op.create_table(
        "tombstones",
        sa.Column("document_key", KEY, autoincrement=False, nullable=False),
        sa.Column("collection_id", KEY, nullable=False),
        sa.Column("seq", KEY, nullable=False),
        sa.Column("external_id_hash", text(64), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name=op.f("fk_tombstones_collection_id_collections"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("document_key", name=op.f("pk_tombstones")),
    )
    op.create_index("ix_tombstones_external_id_hash", "tombstones", ["collection_id", "external_id_hash"])
    op.create_index("ix_tombstones_seq", "tombstones", ["collection_id", "seq"])
    op.create_table(
        "chunks",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("document_id", KEY, nullable=False),
        sa.Column("chunking", text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("heading_path", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_chunks_document_id_documents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint(
            "document_id", "chunking", "ordinal", name=op.f("uq_chunks_document_id_chunking_ordinal")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "document_versions",
        sa.Column("id", KEY, sa.Identity(), nullable=False),
        sa.Column("document_id", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("media_type", text(), nullable=False),
        sa.Column("filename", text(), nullable=True),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("content_hash", text(64), nullable=False),
        sa.Column("original_hash", text(64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("text", text(), nullable=False),
        sa.Column("original", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_document_versions_document_id_documents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_versions")),
        sa.UniqueConstraint("document_id", "version", name=op.f("uq_document_versions_document_id_version")),
    )
    op.create_table(
        "vectors",
        sa.Column("chunk_id", KEY, nullable=False),
        sa.Column("model_id", text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name=op.f("fk_vectors_chunk_id_chunks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("chunk_id", "model_id", name=op.f("pk_vectors")),
    )


def downgrade() -> None:
    for table in (
        "vectors",
        "document_versions",
        "chunks",
        "tombstones",
        "documents",
        "collections",
        "api_keys",
    ):
        op.drop_table(table)
