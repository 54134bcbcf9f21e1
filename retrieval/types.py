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


@dataclass(frozen=True, slots=True)
class RankedList:
    """The answer of an index: best first, and the weights that fused it (None outside hybrid mode).

    considered: the candidates that were ranked.
    """

    chunks: tuple[RankedChunk, ...]
    weights: FusionWeights | None = None
    considered: int = field(default=0)
