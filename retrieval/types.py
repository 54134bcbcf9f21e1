"""The nouns of retrieval. Offsets are Unicode code points into the stored text of a document version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SearchMode(StrEnum):
    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


class FusionMethod(StrEnum):
    """How hybrid mode makes one ranking of two: `retrieval.fusion` tells more."""

    EVIDENCE = "evidence"
    RRF = "rrf"
    CONVEX = "convex"


class Normalisation(StrEnum):
    """What a score counts from in a convex combination; it counts up to the best one of the query.

    THEORETICAL_MIN: from the least that a retriever can give, -1 for a cosine and 0 for BM25.
    MIN_MAX: from the worst candidate.
    """

    THEORETICAL_MIN = "theoretical_min"
    MIN_MAX = "min_max"


@dataclass(frozen=True, slots=True)
class Fusion:
    """A fusion with its parameters; each method reads its own.

    k: damping of rrf, in ranks. alpha: the dense side's share in convex, 0 to 1; normalisation: its scale.
    dense_trust, lexical_trust: of evidence, 0 to 1, times the trust of each query; not both 0.
    """

    method: FusionMethod = FusionMethod.EVIDENCE
    k: int = 60
    alpha: float = 0.5
    normalisation: Normalisation = Normalisation.THEORETICAL_MIN
    dense_trust: float = 1.0
    lexical_trust: float = 1.0


@dataclass(frozen=True, slots=True)
class PageSpan:
    """One page of a paged source. number: starts at 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading that governs the text from `start` to the next heading of its level or above. level: 1 is
    the top.
    """

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """What an extractor read from one file: the text that is stored, and where its pages and headings
    stand.
    """

    text: str
    media_type: str
    title: str | None = None
    pages: tuple[PageSpan, ...] = ()
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """A span `[start, end)` of a document version. heading_path: titles from the top heading down."""

    start: int
    end: int
    page: int | None = None
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """One chunk as the index takes it in.

    document_key: the document's integer key in SQL; text: what the lexical engine indexes (title, headings,
    span); vector: (dimension,) unit float16; metadata: the document's, for filters.
    """

    chunk_id: int
    document_key: int
    text: str
    vector: NDArray[np.float16]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SideScore:
    """What one retriever made of a chunk. rank: starts at 1; None where it lies below the candidates of
    that side.
    """

    score: float
    rank: int | None


@dataclass(frozen=True, slots=True)
class RankedChunk:
    """A chunk id with its final score and what led there.

    dense and lexical are None where the mode leaves that side out; lexical also where no word of the query
    stands in the chunk.
    """

    chunk_id: int
    score: float
    dense: SideScore | None = None
    lexical: SideScore | None = None


@dataclass(frozen=True, slots=True)
class FusionWeights:
    """How far each side was trusted for one query. Weights lie in [0, 1]; reasons are for people."""

    dense: float
    lexical: float
    reasons: tuple[str, ...] = ()
    method: FusionMethod = FusionMethod.EVIDENCE


@dataclass(frozen=True, slots=True)
class RankedList:
    """The answer of an index: best first, and the weights that fused it (None outside hybrid mode).

    considered: the candidates that were ranked.
    """

    chunks: tuple[RankedChunk, ...]
    weights: FusionWeights | None = None
    considered: int = field(default=0)
