"""Neighbouring chunks of one document to one passage."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from retrieval.types import RankedChunk

Rows = Mapping[int, Row[*tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Passage:
    """Chunks of one document version that overlap or follow one another, at the place of the best of them.

    place: in the ranking of chunks, from 0. best: that chunk. opening: the row of the chunk that the passage
    starts with. first, last: ordinals in the document.
    """

    place: int
    best: RankedChunk
    opening: Row[*tuple[Any, ...]]
    start: int
    end: int
    first: int
    last: int

    def touches(self, other: "Passage") -> bool:
        """Whether the two, of one document, overlap or follow one another."""
        follow = self.first <= other.last + 1 and other.first <= self.last + 1
        return follow or (self.start < other.end and other.start < self.end)


def merge_neighbours(chunks: Sequence[RankedChunk], rows: Rows, wanted: int) -> list[Passage]:
    """The first `wanted` passages, best first.

    chunks: best first, each with its row. A chunk counts only when it stands above the best chunk of the
    first passage that is left out, so what is merged does not depend on how many chunks were found.
    """
    found: dict[str, list[Passage]] = defaultdict(list)
    count = 0
    for place, chunk in enumerate(chunks):
        piece = _piece(place, chunk, rows[chunk.chunk_id])
        same = found[piece.opening.external_id]
        touching = [passage for passage in same if passage.touches(piece)]
        if not touching and count == wanted:
            break
        count += 1 - len(touching)
        apart = [passage for passage in same if not passage.touches(piece)]
        found[piece.opening.external_id] = [*apart, _joined([*touching, piece])]
    return sorted((each for passages in found.values() for each in passages), key=lambda each: each.place)


def _piece(place: int, chunk: RankedChunk, row: Row[*tuple[Any, ...]]) -> Passage:
    return Passage(place, chunk, row, row.start, row.end, row.ordinal, row.ordinal)


def _joined(passages: Iterable[Passage]) -> Passage:
    every = list(passages)
    best = min(every, key=lambda each: each.place)
    opening = min(every, key=lambda each: each.start)
    return Passage(
        best.place,
        best.best,
        opening.opening,
        opening.start,
        max(each.end for each in every),
        min(each.first for each in every),
        max(each.last for each in every),
    )
