"""Requests and replies for searches, and the fields that other replies share. Offsets are Unicode code
points.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from app.services.types import Hit, SearchInput, SearchOutput
from retrieval.types import Fusion, FusionMethod, FusionWeights, Normalisation, SearchMode

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


class FusionFields(Struct, frozen=True, forbid_unknown_fields=True):
    """How hybrid mode joins its sides. Each method reads its own parameters."""

    method: Annotated[
        FusionMethod,
        Meta(
            description="evidence weighs scores by the query, rrf adds reciprocal ranks, convex adds scores"
        ),
    ] = FusionMethod.EVIDENCE
    k: Annotated[int, Meta(description="rrf: damping in ranks, from 1 to 10000")] = 60
    alpha: Annotated[float, Meta(description="convex: the dense side's share, from 0 to 1")] = 0.5
    normalisation: Annotated[
        Normalisation, Meta(description="convex: what a score counts from, the least possible or the worst")
    ] = Normalisation.THEORETICAL_MIN
    dense_trust: Annotated[float, Meta(description="evidence: what the dense side counts, from 0 to 1")] = 1.0
    lexical_trust: Annotated[float, Meta(description="evidence: what words count, from 0 to 1")] = 1.0

    def to_fusion(self) -> Fusion:
        """The same for the service."""
        trusts = self.dense_trust, self.lexical_trust
        return Fusion(self.method, self.k, self.alpha, self.normalisation, *trusts)


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
    fusion: Annotated[
        FusionFields | None, Meta(description="In hybrid mode; the collection's unless given")
    ] = None
    diversity: Annotated[
        float, Meta(description="0 ranks by score alone; up to 1, hits that repeat those above go down")
    ] = 0.0
    min_score: Annotated[
        float | None, Meta(description="Leave out hits of a lower score, in the unit of mode and fusion")
    ] = None
    merge_neighbours: Annotated[
        bool, Meta(description="Make one hit of chunks that overlap or follow one another in a document")
    ] = False
    rerank: Annotated[
        bool, Meta(description="Have the best hits scored again by the reranker that the operator installed")
    ] = False
    rerank_candidates: Annotated[int, Meta(description="How many hits the reranker scores, 1 to 1000")] = 50

    def to_input(self) -> SearchInput:
        """The same for the service."""
        return SearchInput(
            self.query,
            self.mode,
            self.limit,
            self.offset,
            self.filter,
            None if self.fusion is None else self.fusion.to_fusion(),
            self.diversity,
            self.min_score,
            self.merge_neighbours,
            self.rerank,
            self.rerank_candidates,
        )


class Explanation(Struct, frozen=True):
    """Scores and ranks behind a hit; null where a side did not return it. Ranks start at 1."""

    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    fused_score: float
    rerank_score: Annotated[float | None, Meta(description="By the reranker, 0 to 1")] = None

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
            hit.scores.rerank,
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
    """How the sides were joined; what each counted in this query, from 0 to 1, and why."""

    method: FusionMethod
    dense_weight: float
    lexical_weight: float
    reasons: list[str]


def _fusion_reply(weights: FusionWeights) -> FusionReply:
    return FusionReply(weights.method, weights.dense, weights.lexical, list(weights.reasons))


class SearchReply(Struct, frozen=True):
    """Hits, best first. fusion: in hybrid mode."""

    query: str
    mode: SearchMode
    took_ms: float
    release: Annotated[int, Meta(description="Number of the collection's release that was searched")]
    query_truncated: Annotated[
        bool, Meta(description="The query is too long for the encoder: dense search saw only its beginning")
    ]
    hits: list[HitReply]
    fusion: FusionReply | UnsetType = UNSET

    @classmethod
    def of(cls, output: SearchOutput, explain: bool) -> "SearchReply":
        """The reply for what the service found."""
        weights = output.weights
        fusion = _fusion_reply(weights) if weights else UNSET
        hits = [HitReply.of(hit, explain) for hit in output.hits]
        return cls(
            query=output.query,
            mode=output.mode,
            took_ms=output.took_ms,
            release=output.release,
            query_truncated=output.query_truncated,
            hits=hits,
            fusion=fusion,
        )
