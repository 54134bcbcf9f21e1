"""What the service answers, as its client reads it. Fields that a newer service adds are passed over.

Offsets are Unicode code points into the stored text of a document version, half-open, as in Python's slices.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

AnswerStatus = Literal["answered", "passages_only", "not_found"]
FeedbackKind = Literal["click", "thumbs_up", "thumbs_down", "accepted"]
ItemStatus = Literal["created", "updated", "unchanged", "error"]
Mode = Literal["hybrid", "dense", "lexical"]
Promotion = Literal["never", "gate"]
ReleaseState = Literal["building", "ready", "failed", "serving", "previous", "retired"]


class Problem(Struct, frozen=True):
    """A failure (RFC 9457). type: its kind, such as `urn:footnote:not_found`."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    found: str | None = None
    expected: str | None = None
    next: str | None = None
    retry_after_s: int | None = None


class Collection(Struct, frozen=True):
    """A collection with its counts. last_seq: number of its latest write; engine: what keeps its index."""

    name: str
    settings: dict[str, Any]
    documents: int
    chunks: int
    last_seq: int
    created_at: datetime
    updated_at: datetime
    engine: str = "faiss"


class Collections(Struct, frozen=True):
    """All collections that the key may see, by name."""

    collections: list[Collection]


class BatchItem(Struct, frozen=True):
    """What became of one item. error, code, field, found, expected, next: when it failed."""

    id: str | None
    status: ItemStatus
    version: int | None = None
    chunks: int | None = None
    truncated: int = 0
    error: str | None = None
    code: str | None = None
    field: str | None = None
    found: str | None = None
    expected: str | None = None
    next: str | None = None


class Batch(Struct, frozen=True):
    """One status for each item, in the order of the request. errors: at least one failed."""

    errors: bool
    items: list[BatchItem]


class Document(Struct, frozen=True):
    """A document as it stands now. length: code points; content_hash: SHA-256 of its UTF-8 text, hex."""

    id: str
    version: int
    title: str | None
    media_type: str
    filename: str | None
    length: int
    chunks: int
    metadata: dict[str, Any]
    content_hash: str
    created_at: datetime
    updated_at: datetime


class Documents(Struct, frozen=True):
    """One page of documents by id. next: the value of `after` for the next page; None on the last."""

    documents: list[Document]
    next: str | None


class Deleted(Struct, frozen=True):
    """How many documents were deleted."""

    deleted: int


class Text(Struct, frozen=True):
    """`text` is the version's text[start:end]; length: of the whole text."""

    document_id: str
    version: int
    start: int
    end: int
    length: int
    text: str


class Explanation(Struct, frozen=True):
    """Scores and ranks behind a hit; None where a side did not return it. Ranks start at 1."""

    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    fused_score: float
    rerank_score: float | None = None


class Hit(Struct, frozen=True):
    """A passage that was found. `text` is the document version's text[start:end]."""

    document_id: str
    version: int
    title: str | None
    start: int
    end: int
    text: str
    page: int | None
    heading_path: list[str]
    metadata: dict[str, Any]
    score: float
    explain: Explanation | None = None


class Fusion(Struct, frozen=True):
    """How the sides were joined; what each counted in this query, from 0 to 1, and why."""

    method: str
    dense_weight: float
    lexical_weight: float
    reasons: list[str]


class Found(Struct, frozen=True):
    """Hits, best first. release: that was searched; fusion: in hybrid mode."""

    query: str
    mode: Mode
    took_ms: float
    release: int
    query_truncated: bool
    hits: list[Hit]
    fusion: Fusion | None = None


class Sentence(Struct, frozen=True):
    """One sentence, and the numbers of the citations it stands on."""

    text: str
    supported: bool
    citations: list[int]


class Citation(Struct, frozen=True):
    """A footnote: `quote` is the document version's text[start:end], checked by the service."""

    number: int
    document_id: str
    version: int
    start: int
    end: int
    quote: str
    title: str | None
    page: int | None


class Prompt(Struct, frozen=True):
    """The prompt that a chat decoder answered to, and what of it found no room."""

    template: str
    passages: int
    examples: int
    dropped_passages: int
    dropped_examples: int
    cut: bool


class Answer(Struct, frozen=True):
    """What the collection says.

    hits: the passages it was answered from, or the nearest ones; question_used: what was searched, for a
    follow-up is rewritten before; conversation_id: where the collection keeps conversations.
    """

    status: AnswerStatus
    answer: str | None
    confidence: float | None
    sentences: list[Sentence]
    citations: list[Citation]
    hits: list[Hit]
    model: str | None
    prompt: Prompt | None
    took_ms: float
    release: int
    question_truncated: bool
    question_used: str
    conversation_id: int | None


class Delta(Struct, frozen=True):
    """The next piece of an answer as it is decoded."""

    delta: str


AnswerEvent = Found | Delta | Citation | Answer


class Map(Struct, frozen=True):
    """The passages of a collection as points, and what they are about. points: columns of equal length."""

    release: int
    passages: int
    points: dict[str, list[Any]]
    clusters: list[dict[str, Any]]
    documents: dict[str, list[Any]]
    fields: list[str]
    values: dict[str, Any] | None
