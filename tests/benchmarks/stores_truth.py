"""The exact answers, how much of them a store found, and the effort at which it finds enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 50_000

Effort = dict[str, Any]


def exact_nearest(
    vectors: NDArray[np.float16], queries: NDArray[np.float32], limit: int, allowed: NDArray[np.bool_]
) -> list[list[int]]:
    """Rows of the `limit` largest inner products with each query, among the allowed ones, in no order.

    vectors: (rows, dimension); queries: (queries, dimension); allowed: (rows,), true for at least `limit`.
    """
    rows = np.flatnonzero(allowed)
    scores = np.empty((len(queries), len(rows)), np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = vectors[rows[start : start + ROWS_AT_ONCE]].astype(np.float32)
        scores[:, start : start + len(part)] = queries @ part.T
    found = np.argpartition(scores, len(rows) - limit, axis=1)[:, len(rows) - limit :]
    return [rows[row].tolist() for row in found]


def recall(found: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """Share of the exact answers that were found, 0 to 1, over all questions."""
    hits = sum(len(set(mine) & set(true)) for mine, true in zip(found, exact, strict=True))
    return hits / sum(map(len, exact))


@dataclass(frozen=True, slots=True)
class Tried:
    """What a store did at one effort. seconds: of the median search."""

    effort: Effort
    recall: float
    seconds: float


def choose_effort(efforts: Sequence[Effort], measure: Callable[[Effort], Tried], target: float) -> Tried:
    """The quickest that reaches the target recall, else the one with the highest recall."""
    tried = [measure(effort) for effort in efforts]
    enough = [each for each in tried if each.recall >= target]
    return min(enough, key=_seconds) if enough else max(tried, key=lambda each: (each.recall, -each.seconds))


def _seconds(tried: Tried) -> float:
    return tried.seconds
