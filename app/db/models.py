"""The tables. SQL is the truth: whatever is not here can be built from here.

    collections ─┬─ documents ─┬─ document_versions   text and original of each version
                 │             └─ chunks ── vectors   of the current version only
                 ├─ tombstones                        what was deleted, for the indexes that follow
                 ├─ deletions ── deletion_pages       mass deletes that wait to be carried out row by row
                 ├─ releases                          what the collection serves, served and may serve
                 ├─ golden_queries                    questions whose right documents are known
                 ├─ feedback                          what people thought of a document that was found
                 └─ conversations ── turns            what was asked and answered (db/conversations.py)
    jobs ── job_items
    idempotency_keys
    api_keys ── page_sessions                         browsers and their links (db/sessions.py)
    leases                                            who does what only one may do (db/leases.py)
    identity                                          which database this is

Every write to a collection takes the next `seq` of that collection, in the transaction that writes. An index
that has followed up to seq S needs only the rows above S.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from app.db.column_types import Id, Key, text

# SQLite reuses the id of a deleted last row unless told otherwise. An index knows documents and chunks by
# their ids, so an id that came back would bring a deleted document back with it.
NEVER_REUSE_IDS = {"sqlite_autoincrement": True}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, which SQLite would otherwise give back without its zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store in UTC, without the zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give back as UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Model(DeclarativeBase):
    """All tables. Constraints have names, so that a migration can change them."""

    metadata = MetaData(
        naming_convention={
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        str: text(),
        float: Double,
    }


class Collection(Model):
    """last_seq: number of the latest write; 0 before the first.

    deleted_at: set when it was deleted; then its name is free, nobody sees it, and its rows go in the
    background.
    """

    __tablename__ = "collections"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(text(64), unique=True)
    chunk_max_tokens: Mapped[int]
    chunk_overlap_tokens: Mapped[int]
    refusal_threshold: Mapped[float | None]
    last_seq: Mapped[Key] = mapped_column(default=0)
    # How hybrid search joins its sides: the fields of `retrieval.types.Fusion`; None: the default.
    fusion: Mapped[dict[str, Any] | None]
    # What a chat decoder is told: the fields of `generation.causal.prompt_template.PromptTemplate`; None: the
    # shipped one in the question's language.
    prompt: Mapped[dict[str, Any] | None]
    keep_conversations: Mapped[bool] = mapped_column(default=False, server_default=false())
    # The release in service; no foreign key, because the two tables would need each other to exist first.
    release_id: Mapped[Key | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Document(Model):
    """A document as it stands now.

    id: the document key that indexes know. meta: the metadata (SQLAlchemy keeps that name for itself).
    fingerprint: SHA-256 over all that a client can change about it.
    seq: of the write that last changed it; its chunks carry the same. chunk_count: in the release in service.
    outline: where pages and headings of the current version start, so that it can be cut anew; None: not
    known, as of documents that are older than this column.
    """

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("collection_id", "external_id"),
        Index("ix_documents_seq", "collection_id", "seq"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    external_id: Mapped[str]
    version: Mapped[int]
    fingerprint: Mapped[str] = mapped_column(text(64))
    seq: Mapped[Key]
    chunk_count: Mapped[int]
    title: Mapped[str | None]
    meta: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    outline: Mapped[dict[str, Any] | None]


class DocumentVersion(Model):
    """The text of one version, which never changes, so that a citation of it stays checkable.

    length: in code points. content_hash, original_hash: SHA-256, hex, of the UTF-8 text and of the bytes
    sent.
    original: None when the document was given as text. It stands last, so that reading the text passes over
    it.
    """

    __tablename__ = "document_versions"
    __table_args__ = (UniqueConstraint("document_id", "version"),)

    id: Mapped[Id]
    document_id: Mapped[Key] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    version: Mapped[int]
    media_type: Mapped[str]
    filename: Mapped[str | None]
    length: Mapped[int]
    content_hash: Mapped[str] = mapped_column(text(64))
    original_hash: Mapped[str] = mapped_column(text(64))
    created_at: Mapped[datetime]
    text: Mapped[str]
    original: Mapped[bytes | None] = mapped_column(LargeBinary)


class Chunk(Model):
    """A span of the current version. chunking: the settings that cut it."""

    __tablename__ = "chunks"
    __table_args__ = (UniqueConstraint("document_id", "chunking", "ordinal"), NEVER_REUSE_IDS)

    id: Mapped[Id]
    document_id: Mapped[Key] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    chunking: Mapped[str]
    ordinal: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    page: Mapped[int | None]
    heading_path: Mapped[list[str]]


class Vector(Model):
    """A chunk as one model sees it. data: (dimension,) little-endian float16."""

    __tablename__ = "vectors"

    chunk_id: Mapped[Key] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Tombstone(Model):
    """A deleted document.

    external_id_hash: SHA-256, hex; the id itself went with the document. last_version: a document that comes
    back under the id goes on counting, so that no citation of the deleted text can point into the new one.
    """

    __tablename__ = "tombstones"
    __table_args__ = (
        Index("ix_tombstones_seq", "collection_id", "seq"),
        Index("ix_tombstones_external_id_hash", "collection_id", "external_id_hash"),
    )

    document_key: Mapped[Key] = mapped_column(primary_key=True, autoincrement=False)
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    seq: Mapped[Key]
    external_id_hash: Mapped[str] = mapped_column(text(64))
    last_version: Mapped[int]


class Deletion(Model):
    """Documents that a mass delete took away at `seq`; their rows go later, in the background."""

    __tablename__ = "deletions"
    __table_args__ = (Index("ix_deletions_seq", "collection_id", "seq"), NEVER_REUSE_IDS)

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    seq: Mapped[Key]
    created_at: Mapped[datetime]


class DeletionPage(Model):
    """Which of the documents with keys from 256 * page on a deletion took away.

    marks: 256 bytes, 1 where it did. So a million documents are marked in 4,000 rows, and SQL can ask for
    one.
    """

    __tablename__ = "deletion_pages"
    __table_args__ = (Index("ix_deletion_pages_deletion_id", "deletion_id"), {"sqlite_with_rowid": False})

    page: Mapped[Key] = mapped_column(primary_key=True, autoincrement=False)
    deletion_id: Mapped[Key] = mapped_column(ForeignKey("deletions.id", ondelete="CASCADE"), primary_key=True)
    marks: Mapped[bytes] = mapped_column(LargeBinary)


class Release(Model):
    """What a collection serves, served or may serve: a chunking and an encoder.

    number: starts at 1 in each collection. chunking: the name under which its chunks are stored.
    encoder: the model's folder, from the data folder on; None: the one that the settings name.
    model_id: of that encoder when the release was made. report: what its verification measured.
    engine: that keeps its index, without user and password; None: FAISS.
    """

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("collection_id", "number"), NEVER_REUSE_IDS)

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    number: Mapped[int]
    state: Mapped[str]
    chunk_max_tokens: Mapped[int]
    chunk_overlap_tokens: Mapped[int]
    chunking: Mapped[str]
    encoder: Mapped[str | None]
    model_id: Mapped[str | None]
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    promoted_at: Mapped[datetime | None]
    engine: Mapped[str | None]


class GoldenQuery(Model):
    """A question whose right documents are known. document_ids: external ids."""

    __tablename__ = "golden_queries"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    query: Mapped[str]
    document_ids: Mapped[list[str]]


class Feedback(Model):
    """What somebody thought of a document that was found for a query. It goes with the document.

    kind: click, thumbs_up, thumbs_down or accepted; version, start, end: the span that it was about, in code
    points; start and end None: the document as a whole. release: the number of the one that found it.
    """

    __tablename__ = "feedback"
    __table_args__ = (
        Index("ix_feedback_collection_id", "collection_id", "id"),
        Index("ix_feedback_document_id", "document_id"),  # so that deleting a document does not read them all
        NEVER_REUSE_IDS,
    )

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    document_id: Mapped[Key] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    query: Mapped[str]
    kind: Mapped[str]
    version: Mapped[int]
    start: Mapped[int | None]
    end: Mapped[int | None]
    release: Mapped[int]
    created_at: Mapped[datetime]


class IdempotencyKey(Model):
    """A write that was answered, by the key that its client gave it.

    scope: whose key it is. request_hash: SHA-256, hex, of what was asked. answer: the body that was sent.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str] = mapped_column(text(64))
    status_code: Mapped[int]
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class Identity(Model):
    """Which database this is: one row.

    database_id: random; builds of another database are not read. index_id: random, under which its indexes
    are kept on engines; a copy that is restored gets another, so that it never writes into the original's.
    """

    __tablename__ = "identity"

    database_id: Mapped[str] = mapped_column(text(32), primary_key=True)
    index_id: Mapped[str] = mapped_column(text(32), server_default="")
    created_at: Mapped[datetime]


class Job(Model):
    """Long work that a worker process does.

    collection: its name; a job outlives it. input: what the kind needs to know. attempt: 1, and one more for
    each resume or retry; what belongs to an older attempt changes nothing any more. starts: of this attempt
    since it last got on, so that work which ends its worker again and again is given up.
    progress: done, total, what, eta_s. error: code, message and what else a failure tells.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state", "state"),)

    id: Mapped[str] = mapped_column(text(20), primary_key=True)
    kind: Mapped[str]
    collection: Mapped[str | None]
    input: Mapped[dict[str, Any]]
    state: Mapped[str]
    attempt: Mapped[int]
    starts: Mapped[int]
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class JobItem(Model):
    """One file of a job. path: of the upload, relative to the home folder. starts: as in jobs."""

    __tablename__ = "job_items"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    media_type: Mapped[str | None]
    path: Mapped[str]
    state: Mapped[str]
    starts: Mapped[int]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class ApiKey(Model):
    """A key that was given out.

    token_hash: SHA-256, hex, of the token, which is random and so needs no salt. collections: the names of
    those that it may see; None: all. rate_per_minute: of requests; None: the service's own limit.
    """

    __tablename__ = "api_keys"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[Id]
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(text(64), unique=True)
    scopes: Mapped[list[str]]
    collections: Mapped[list[str] | None]
    rate_per_minute: Mapped[int | None]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
