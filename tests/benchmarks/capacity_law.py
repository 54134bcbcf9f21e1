"""The law of growth: bytes of a part of a store over chunks, as a straight line."""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

# Bytes by the number of chunks, for each part of a store.
Sizes = Mapping[str, Mapping[int, int]]


class Law(TypedDict):
    """fixed: bytes without a chunk. a_chunk: bytes that each chunk adds. off_by: how far the line is from
    what was measured, at the worst size, as a share. sizes: in chunks, that were measured.
    """

    fixed: int
    a_chunk: float
    off_by: float
    sizes: list[int]


def fit(points: Mapping[int, int]) -> Law:
    """The line through the points, of the least squares. Two sizes at least; raises ValueError."""
    if len(points) < 2:
        raise ValueError(f"found {len(points)} sizes, expected two or more: a law needs them")
    chunks = np.array(sorted(points), dtype=np.float64)
    taken = np.array([points[int(each)] for each in chunks], dtype=np.float64)
    slope, start = np.polyfit(chunks, taken, 1)
    drawn = start + slope * chunks
    return Law(
        fixed=round(float(start)),
        a_chunk=round(float(slope), 1),
        off_by=round(float(np.max(np.abs(drawn - taken) / np.maximum(taken, 1))), 3),
        sizes=sorted(points),
    )


def reach(law: Law, chunks: int) -> float:
    """Bytes at so many chunks."""
    return max(0, law["fixed"]) + law["a_chunk"] * chunks
