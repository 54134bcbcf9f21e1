"""What goes into the services and what comes out. Offsets are Unicode code points; times are UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from embeddings.errors import FootnoteError
from generation.causal.chat import ChatMessage
from generation.causal.prompt_template import PromptTemplate
from generation.sampling import SamplingSettings
from generation.types import Answer, CitationFound, MessageDelta
from retrieval.types import Fusion, FusionWeights, SearchMode, SideScore


class Scope(StrEnum):
    """What a key may do. admin includes write, write includes read."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class ItemStatus(StrEnum):
    """What became of one item of a batch.

    created: the id was new; updated: its text, title or metadata changed; unchanged: the same
    again;
    error: nothing of this item was written.
    """

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """How a collection is chunked, searched and answered from.

    chunk_max_tokens, chunk_overlap_tokens: in the encoder's tokens, of the release in service.
    refusal_threshold: probability in [0, 1] below which the decoder's answer is withheld; None: the
    decoder's own. fusion: of hybrid searches that name none; None: evidence, with full trust. prompt: what a
    decoder that chats is told; None: the shipped one in the question's language. keep_conversations: whether
    questions and answers are kept.
    """

    chunk_max_tokens: int = 200
    chunk_overlap_tokens: int = 30
    refusal_threshold: float | None = None
    fusion: Fusion | None = None
    prompt: PromptTemplate | None = None
    keep_conversations: bool = False


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection with its counts.

    last_seq: number of its latest write; 0 when nothing was ever written. engine: that keeps the index of the
    release in service: `faiss`, or a URL without user and password.
    """

    name: str
    settings: CollectionSettings
    documents: int
    chunks: int
    last_seq: int
    created_at: datetime
    updated_at: datetime
    engine: str = "faiss"


@dataclass(frozen=True, slots=True)
class DocumentInput:
    """A document given as text.

    id: external id, unique in its collection; None: made from the content, so that the same content is one
    document.
    media_type: text/plain when None; text/markdown keeps the text and lends its headings to the chunks.
    """

    text: str
    id: str | None = None
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class FileInput:
    """A document given as a file.

    id: external id; None: the filename. A JSONL or CSV file holds many documents, which take their ids from
    their records. metadata: added to each document of the file; a record's own keys win.
    """

    filename: str
    data: bytes
    id: str | None = None
    media_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one document of a batch.

    version, chunks: of the stored document; None when status is error.
    truncated: chunks written by this call whose text the encoder saw only in part; their last words are
    found lexically only.
    error: set exactly when status is error.
    """

    id: str | None
    status: ItemStatus
    version: int | None = None
    chunks: int | None = None
    truncated: int = 0
    error: FootnoteError | None = None


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document as it stands now. length: of the text, in code points; content_hash: SHA-256 of its UTF-8
    text, hex.
    """

    id: str
    version: int
    title: str | None
    media_type: str
    filename: str | None
    length: int
    chunks: int
    metadata: Mapping[str, Any]
    content_hash: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Documents in the order of their ids. next: what `after` has to be for the next page; None on the
    last.
    """

    documents: tuple[DocumentInfo, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class TextRange:
    """`text` is the version's text[start:end]; length: of the whole text, in code points."""

    document_id: str
    version: int
    start: int
    end: int
    length: int
    text: str


@dataclass(frozen=True, slots=True)
class OriginalFile:
    """The bytes that were sent for one version; for a document given as text, that text in UTF-8."""

    document_id: str
    version: int
    filename: str | None
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SearchInput:
    """A question to a collection.

    filter: the JSON object of the filter language; None: every document. fusion: None: the collection's.
    diversity: 0 ranks by score alone, 1 by difference from the hits above alone.
    min_score: hits of a lower score are left out. merge_neighbours: chunks of one document that overlap or
    follow one another become one hit; limit and offset count such hits. rerank: put the best
    `rerank_candidates` hits into the reranker's order before limit and offset.
    """

    query: str
    mode: SearchMode = SearchMode.HYBRID
    limit: int = 10
    offset: int = 0
    filter: object | None = None
    fusion: Fusion | None = None
    diversity: float = 0.0
    min_score: float | None = None
    merge_neighbours: bool = False
    rerank: bool = False
    rerank_candidates: int = 50


@dataclass(frozen=True, slots=True)
class HitScores:
    """Every score that led to a hit; a side that did not return it is None.

    fused: the score that ranks, unless there is one of the reranker's, `rerank`.
    """

    fused: float
    dense: SideScore | None = None
    lexical: SideScore | None = None
    rerank: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found. text == the document version's text[start:end]. page: starts at 1; None if
    unpaged.
    """

    document_id: str
    version: int
    title: str | None
    start: int
    end: int
    text: str
    page: int | None
    heading_path: tuple[str, ...]
    metadata: Mapping[str, Any]
    score: float
    scores: HitScores


@dataclass(frozen=True, slots=True)
class SearchOutput:
    """Hits, best first.

    weights: how hybrid mode trusted its sides; None in the other modes. took_ms: milliseconds.
    query_truncated: the encoder saw only the beginning of the query; the word index saw all of it.
    release: the number of the release that was searched.
    """

    query: str
    mode: SearchMode
    hits: tuple[Hit, ...]
    weights: FusionWeights | None
    took_ms: float
    query_truncated: bool
    release: int


@dataclass(frozen=True, slots=True)
class AnswerInput:
    """A question to answer from a collection.

    passages: how many of the best hits may be read and cited; rerank: choose them with the reranker.
    history: what was said before, by user and assistant, the oldest first.
    """

    question: str
    passages: int = 5
    filter: object | None = None
    mode: SearchMode = SearchMode.HYBRID
    sampling: SamplingSettings = SamplingSettings()  # noqa: RUF009  # frozen, so it may be shared
    rerank: bool = False
    history: tuple[ChatMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerOutput:
    """The outcome of one question and the hits it was read from.

    took_ms: milliseconds, search included. conversation_id: of the one that keeps it; None: nobody does. The
    question that was used is `search.query`: a follow-up is rewritten before.
    """

    answer: Answer
    search: SearchOutput
    took_ms: float
    conversation_id: int | None = None


# In this order: the hits, the answer as it is decoded, its citations, and what holds in the end.
AnswerEvent = SearchOutput | MessageDelta | CitationFound | AnswerOutput


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    id: of the key; None for a caller without one. collections: the names of those that the caller may see;
    None: all. rate_per_minute: of requests; None: the service's own limit. session_id: of the page session
    that spoke for the caller; None: a header did, or nobody.
    """

    id: int | None
    name: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None = None
    rate_per_minute: int | None = None
    session_id: int | None = None

    @property
    def identity(self) -> str | None:
        """The same text for all calls of one caller, and for no other's; None for a caller without a name."""
        if self.id is not None:
            return str(self.id)
        return None if self.session_id is None else f"session-{self.session_id}"

    def allows(self, scope: Scope) -> bool:
        """True when one of the caller's scopes is `scope` or includes it."""
        order = list(Scope)
        return any(order.index(held) >= order.index(scope) for held in self.scopes)

    def may_see(self, collection: str | None) -> bool:
        """True when nothing keeps the caller from this collection. None: what belongs to no collection,
        which only a caller without limits sees.
        """
        return self.collections is None or collection in self.collections


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key without its secret. collections, rate_per_minute: as in Principal; revoked_at: None while it is
    good.
    """

    id: int
    name: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None
    rate_per_minute: int | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key with its secret, which is not stored and is shown this once."""

    info: KeyInfo
    token: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A page session, or a link that nobody has opened yet: opened_at is None then.

    key_id: of the key that was typed into the page; None: it came by a link.
    """

    id: int
    key_id: int | None
    scopes: frozenset[Scope]
    collections: frozenset[str] | None
    created_at: datetime
    opened_at: datetime | None
    expires_at: datetime
