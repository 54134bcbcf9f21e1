"""Segments to chunks: the cuts of least cost, by dynamic programming, and the overlap of neighbours."""

from collections.abc import Sequence
from itertools import accumulate

from retrieval.segments import Border, Segment

_CHUNK_COST = 1.0  # few chunks are better than many
# A chunk too full to repeat the end of the one before: after a mere sentence, and after a paragraph or line.
_NO_OVERLAP_COST = (1.5, 0.3)
_CUT_COST = {
    Border.GLUE: 20.0,
    Border.WORD: 6.0,
    Border.CLAUSE: 3.0,
    Border.SENTENCE: 1.0,
    Border.LINE: 0.7,
    Border.BLOCK: 0.2,
    Border.SECTION: 0.0,
}
# A heading inside a chunk, by its level: sections below about a quarter of a chunk join a neighbour.
_HEADING_COST = (0.0, 1.5, 1.2, 1.0, 1.0, 1.0, 1.0)
_MAX_SEGMENTS = 64  # in one chunk; bounds the time on text of tiny lines


def pack_segments(segments: Sequence[Segment], max_tokens: int, overlap_tokens: int) -> list[tuple[int, int]]:
    """Return (first, last) segment of each chunk, in order; a chunk starts up to `overlap_tokens` before
    its cut.

    Every segment must have its token count, at most `max_tokens`; counts are taken to add up.
    """
    sums = [0, *accumulate(segment.tokens for segment in segments)]
    cuts = _cheapest_cuts(segments, sums, max_tokens, overlap_tokens)
    chunks: list[tuple[int, int]] = []
    for position, (cut, following) in enumerate(zip(cuts, [*cuts[1:], len(segments)], strict=False)):
        earliest = cuts[position - 1] + 1 if position else 0
        room = min(overlap_tokens, max_tokens - (sums[following] - sums[cut]))
        first = _overlap_start(segments, sums, cut, earliest, room) if position else cut
        chunks.append((first, following - 1))
    return chunks


def _cheapest_cuts(segments: Sequence[Segment], sums: list[int], max_tokens: int, overlap: int) -> list[int]:
    """Return the index of the first segment of each chunk."""
    size = len(segments)
    costs = [_CUT_COST[segment.border] for segment in segments] + [0.0]
    inner = [_HEADING_COST[min(segment.level, 6)] for segment in segments] + [0.0]
    target = max_tokens / 2
    best = [0.0] + [float("inf")] * size
    before = [0] * (size + 1)
    for start in range(size):
        fresh = start == 0 or segments[start].border is Border.SECTION
        room, spare = sums[start] + max_tokens, sums[start] + (max_tokens if fresh else max_tokens - overlap)
        lone = _NO_OVERLAP_COST[segments[start].border > Border.SENTENCE]
        headings = best[start] + _CHUNK_COST
        for end in range(start + 1, min(size, start + _MAX_SEGMENTS) + 1):
            tokens = sums[end]
            if tokens > room:
                break
            lack = target - (tokens - sums[start])
            cost = headings + costs[end] + ((lack / target) ** 2 if lack > 0 else 0.0)
            if tokens > spare:
                cost += lone
            if cost < best[end]:
                best[end], before[end] = cost, start
            headings += inner[end]
    cuts: list[int] = []
    end = size
    while end > 0:
        end = before[end]
        cuts.append(end)
    return cuts[::-1]


def _overlap_start(segments: Sequence[Segment], sums: list[int], cut: int, earliest: int, room: int) -> int:
    """Go back over whole sentences of the same section; in a sentence that had to be cut, over its pieces."""
    weakest = min(Border.SENTENCE, segments[cut].border)
    start = cut
    candidate = cut
    while candidate > earliest and segments[candidate].border is not Border.SECTION:
        candidate -= 1
        if sums[cut] - sums[candidate] > room:
            break
        if segments[candidate].border >= weakest:
            start = candidate
    return start
