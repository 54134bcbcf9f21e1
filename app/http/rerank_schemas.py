"""Requests and replies for reranking, in the forms of Cohere and of Text Embeddings Inference.

Sources: docs.cohere.com/v2/reference/rerank and /v1/reference/rerank; huggingface/text-embeddings-inference
1.9, router/src/http/types.rs.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.http.tei_schemas import Truncate

Query = Annotated[str, Meta(description="What the texts are ranked for")]
Score = Annotated[float, Meta(description="0 to 1, the higher the better")]


class TextDocument(Struct, frozen=True):
    """A document as an object; other fields are ignored."""

    text: str


class CohereRerankRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to rank, as Cohere's clients ask."""

    query: Query
    documents: Annotated[list[str | dict[str, Any]], Meta(description='Texts or {"text"}, up to 1000')]
    model: Annotated[str | None, Meta(description="`reranker`, or the id of the model in service")] = None
    top_n: Annotated[int | None, Meta(description="How many of the best; all unless given")] = None
    max_tokens_per_doc: Annotated[
        int | None, Meta(description="A longer document loses its end: 4096 unless given")
    ] = None
    return_documents: Annotated[bool, Meta(description="Give the texts back")] = False
    priority: Annotated[int | None, Meta(description="Accepted and ignored")] = None


class CohereResult(Struct, frozen=True):
    """index: among the documents that were sent."""

    index: int
    relevance_score: Score
    document: TextDocument | UnsetType = UNSET


class CohereVersion(Struct, frozen=True):
    """Of Cohere's API."""

    version: str


class CohereMeta(Struct, frozen=True):
    """scorer: what scored the texts, the encoder where no reranker is installed; model: its id."""

    api_version: CohereVersion
    scorer: Literal["reranker", "encoder"]
    model: str


class CohereRerankReply(Struct, frozen=True):
    """Results, best first."""

    id: str
    model: str
    results: list[CohereResult]
    meta: CohereMeta


class TEIRerankRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to rank, as clients of Text Embeddings Inference ask."""

    query: Query
    texts: Annotated[list[str], Meta(description="Up to 1000 texts")]
    raw_scores: Annotated[bool, Meta(description="The model's own numbers, without a sigmoid")] = False
    return_text: Annotated[bool, Meta(description="Give the texts back")] = False
    truncate: Truncate = None
    truncation_direction: Annotated[
        Literal["Right", "right"], Meta(description="A text that is too long loses its end")
    ] = "Right"


class TEIRank(Struct, frozen=True):
    """index: among the texts that were sent."""

    index: int
    score: float
    text: str | UnsetType = UNSET
