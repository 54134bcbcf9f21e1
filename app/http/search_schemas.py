"""Requests and replies for searches, and the fields that other replies share. Offsets are Unicode code
points.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from app.services.types import Hit, SearchInput, SearchOutput
from retrieval.types import SearchMode

Filter = Annotated[
    dict[str, Any] | None,
    Meta(
        description="Applied before ranking: $eq $ne $in $nin $gt $gte $lt $lte $exists $and $or $not; "
        'for example `{"language": "en", "year": {"$gte": 2020}}`'
    ),
]
DocumentId = Annotated[
    str, Meta(description="External id, unique in its collection", examples=["handbook/leave.md"])
]
Version = Annotated[int, Meta(description="Version of the document; starts at 1", examples=[1])]
Start = Annotated[int, Meta(description="First code point, counted from 0", examples=[120])]
End = Annotated[int, Meta(description="One past the last code point", examples=[168])]


class SearchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A query to a collection."""

    query: Annotated[str, Meta(description="What to look for", examples=["when to plant tomatoes"])]
    mode: Annotated[SearchMode, Meta(description="hybrid joins meaning (dense) and words (lexical)")] = (
        SearchMode.HYBRID
    )
    limit: Annotated[
        int, Meta(description="How many hits, from 1 to 1000 unless the operator says otherwise")
    ] = 10
    offset: Annotated[int, Meta(description="How many of the best hits to skip")] = 0
    filter: Filter = None
    explain: Annotated[bool, Meta(description="Give every score and rank that led to a hit")] = False

    def to_input(self) -> SearchInput:
        """The same for the service."""
        return SearchInput(self.query, self.mode, self.limit, self.offset, self.filter)


class Explanation(Struct, frozen=True):
    """Scores and ranks behind a hit; null where a side did not return it. Ranks start at 1."""

    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    fused_score: float

    @classmethod
    def of(cls, hit: Hit) -> "Explanation":
        """Flatten the scores of a hit."""
        dense, lexical = hit.scores.dense, hit.scores.lexical
        return cls(
            dense.score if dense else None,
            dense.rank if dense else None,
            lexical.score if lexical else None,
            lexical.rank if lexical else None,
            hit.scores.fused,
        )


class HitReply(Struct, frozen=True):
    """A passage that was found. `text` is the document version's text[start:end]."""

    document_id: DocumentId
    version: Version
    title: str | None
    start: Start
    end: End
    text: str
    page: Annotated[int | None, Meta(description="Page of a paged source; starts at 1")]
    heading_path: list[str]
    metadata: dict[str, Any]
    score: float
    explain: Explanation | UnsetType = UNSET

    @classmethod
    def of(cls, hit: Hit, explain: bool) -> "HitReply":
        """The reply for one hit."""
        return cls(
            hit.document_id,
            hit.version,
            hit.title,
            hit.start,
            hit.end,
            hit.text,
            hit.page,
            list(hit.heading_path),
            dict(hit.metadata),
            hit.score,
            Explanation.of(hit) if explain else UNSET,
        )


class FusionReply(Struct, frozen=True):
    """How far each side was trusted for this query, from 0 to 1, and why."""

    dense_weight: float
    lexical_weight: float
    reasons: list[str]


class SearchReply(Struct, frozen=True):
    """Hits, best first. fusion: in hybrid mode."""

    query: str
    mode: SearchMode
    took_ms: float
    query_truncated: Annotated[
        bool, Meta(description="The query is too long for the encoder: dense search saw only its beginning")
    ]
    hits: list[HitReply]
    fusion: FusionReply | UnsetType = UNSET

    @classmethod
    def of(cls, output: SearchOutput, explain: bool) -> "SearchReply":
        """The reply for what the service found."""
        weights = output.weights
        fusion = FusionReply(weights.dense, weights.lexical, list(weights.reasons)) if weights else UNSET
        hits = [HitReply.of(hit, explain) for hit in output.hits]
        return cls(output.query, output.mode, output.took_ms, output.query_truncated, hits, fusion)
