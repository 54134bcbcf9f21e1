"""How sure a gain is: one-sided bounds of a mean over held-out queries, and what chance would reach.

Student's t over clusters of queries is used instead of the bootstrap's percentiles: those are too narrow for
few queries, and let through more useless encoders than the stated rate (`python -m tests.benchmarks gate`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

from retrieval.comparison import Change
from retrieval.metrics import CONFIDENCE, RESAMPLES, Interval, Qrels

# Chance is excluded far more strictly than no gain: real labels pass it by a wide margin, and random ones
# would otherwise pass both tests by luck once in a while.
CHANCE_CONFIDENCE = 0.999
# A query with more right answers than this asks for a class of texts.
CLASS_ANSWERS = 10

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A mean gain, -1 to 1, with its one-sided lower and upper bound."""

    value: float
    at_least: float
    at_most: float


def gain_bounds(gains: Values, clusters: NDArray[np.int64], confidence: float) -> Bounds:
    """Bounds of the mean of gains (queries,) whose clusters (queries,) are independent of each other.

    The standard error is robust to what queries of a cluster share (Liang and Zeger, Biometrika 1986), with
    Student's t of clusters - 1 degrees of freedom. A single cluster proves nothing: -1 to 1.
    """
    mean, count = float(gains.mean()), int(clusters.max()) + 1
    if count < 2:
        return Bounds(mean, -1.0, 1.0)
    sums = np.bincount(clusters, gains - mean, minlength=count)
    error = float(np.sqrt((sums**2).sum() * count / (count - 1))) / len(gains)
    return bounds_of(mean, error, count - 1, confidence)


def bounds_of(mean: float, error: float, degrees: int, confidence: float) -> Bounds:
    """Bounds from a standard error and its degrees of freedom."""
    margin = _quantile(confidence, degrees) * error
    return Bounds(mean, max(mean - margin, -1.0), min(mean + margin, 1.0))


@cache
def _quantile(confidence: float, degrees: int) -> float:
    return float(student.ppf(confidence, degrees))


def same_answers(qrels: Qrels) -> dict[str, str]:
    """Query id -> what it asks for: queries with the same right answers count as one draw.

    Two questions written for one passage gain or lose together, and are no two pieces of evidence. Not so
    for classes of texts: all of them are among the queries anyway, so that only their texts are a sample.
    """
    found = {}
    for query, grades in qrels.items():
        right = sorted(document for document, grade in grades.items() if grade > 0)
        found[query] = repr(right) if len(right) <= CLASS_ANSWERS else f"query {query}"
    return found


def above_chance(values: Values, chance: Values, clusters: NDArray[np.int64]) -> bool:
    """Whether the values (queries,) are surely above those of a random ranking."""
    return gain_bounds(values - chance, clusters, CHANCE_CONFIDENCE).at_least > 0


def chance_ndcg(grades: Mapping[str, int], documents: int, depth: int = 10) -> float:
    """The nDCG@depth that a random order of the documents has on average."""
    gains = np.sort([max(grade, 0) for grade in grades.values()])[::-1]
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ideal = float((gains[:depth] * discounts[: len(gains)]).sum())
    places = discounts[: min(depth, documents)].sum()
    return float(gains.sum() / documents * places / ideal) if ideal else 0.0


def spearman_change(old: Values, new: Values, scores: Values, seed: int = 0) -> tuple[Change, float]:
    """Spearman's correlation of old and new similarities with the scores, (pairs,) each.

    With a bootstrap interval of its gain over pairs, and the standard error of that.
    """
    draws = np.random.default_rng(seed).integers(0, len(scores), (RESAMPLES, len(scores)))
    gains = np.concatenate(
        [
            _rank_correlations(block, scores, new) - _rank_correlations(block, scores, old)
            for block in np.array_split(draws, max(draws.size // 100_000, 1))
        ]
    )
    everything = np.arange(len(scores))[None]
    before, after = (float(_rank_correlations(everything, scores, each)[0]) for each in (old, new))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return Change(before, after, Interval(after - before, float(low), float(high))), float(gains.std(ddof=1))


def _rank_correlations(draws: NDArray[np.int64], first: Values, second: Values) -> Values:
    """(len(draws),) Spearman's correlation of each sample of pairs; 0 where one side does not vary."""
    ranks = [rankdata(values[draws], axis=1) for values in (first, second)]
    centred = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    spread = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    covered: Values = (centred[0] * centred[1]).sum(axis=1)
    correlations: Values = np.divide(covered, spread, out=np.zeros_like(covered), where=spread > 0)
    return correlations
