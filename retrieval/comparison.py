"""Two rankings of the same queries: how much better one of them is, and how sure that is.

Every figure is paired: a query's gain is its value with the new ranking less its value with the old one, so
that easy and hard queries do not blur the difference. Pairing and resampling of queries follow Sakai,
Evaluating Evaluation Metrics based on the Bootstrap (SIGIR 2006).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics import CONFIDENCE, RESAMPLES, Interval, Qrels, Run, query_values

COMPARED = ("ndcg@10", "recall@100", "mrr@10")
DECISIVE = "ndcg@10"  # wins and losses are counted by it
TIE = 1e-9
_BLOCK = 50  # resamples at once: 20 MB with 50,000 queries

Clusters = Mapping[str, str]  # query id -> what is drawn as one: queries about the same thing
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """The mean of a metric with the old and the new ranking, 0 to 1, and its gain with an interval."""

    old: float
    new: float
    gain: Interval


@dataclass(frozen=True, slots=True)
class QueryChange:
    """nDCG@10 of one query, before and after."""

    query: str
    old: float
    new: float

    @property
    def gain(self) -> float:
        return self.new - self.old


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the old to the new ranking.

    metrics: by name; wins, losses, ties: queries whose nDCG@10 rose, fell, stayed; changes: every query, the
    largest change first.
    """

    queries: int
    metrics: dict[str, Change]
    wins: int
    losses: int
    ties: int
    changes: tuple[QueryChange, ...]


def compare_rankings(
    qrels: Qrels,
    old: Run,
    new: Run,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    clusters: Clusters | None = None,
) -> Comparison:
    """Compare two runs on the queries that have a relevant document.

    A query that a run lacks counts 0 there. confidence: of the two-sided intervals; clusters: queries that
    depend on each other and are therefore drawn together, default: each for itself. One sample of queries
    serves all metrics. Raises as `query_values` does.
    """
    before, after = query_values(qrels, old), query_values(qrels, new)
    queries = [query for query, grades in qrels.items() if max(grades.values(), default=0) > 0]
    gains = np.stack([after[name] - before[name] for name in COMPARED], axis=1)  # (queries, metrics)
    means = resampled_means(gains, cluster_numbers(queries, clusters), seed)
    metrics = {
        name: Change(
            float(before[name].mean()),
            float(after[name].mean()),
            _interval(gains[:, column], means[:, column], confidence),
        )
        for column, name in enumerate(COMPARED)
    }
    return _comparison(queries, before[DECISIVE], after[DECISIVE], metrics)


def _comparison(queries: list[str], before: Values, after: Values, metrics: dict[str, Change]) -> Comparison:
    changes = [
        QueryChange(query, float(old), float(new))
        for query, old, new in zip(queries, before, after, strict=True)
    ]
    changes.sort(key=lambda change: (-abs(change.gain), change.query))
    wins = sum(change.gain > TIE for change in changes)
    losses = sum(change.gain < -TIE for change in changes)
    ties = len(changes) - wins - losses
    return Comparison(len(changes), metrics, wins, losses, ties, tuple(changes))


def _interval(gains: Values, means: Values, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(gains.mean()), float(low), float(high))


def cluster_numbers(queries: list[str], clusters: Clusters | None) -> NDArray[np.int64]:
    """(queries,) the cluster of each query, counted from 0; a query without one is a cluster of its own."""
    named = clusters or {}
    keys = [f"cluster {named[query]}" if query in named else f"query {query}" for query in queries]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys])


def resampled_means(values: Values, clusters: NDArray[np.int64], seed: int = 0) -> Values:
    """(RESAMPLES, metrics) means of values (queries, metrics) over clusters drawn with replacement."""
    count = int(clusters.max()) + 1
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, clusters, values)
    sizes = np.bincount(clusters, minlength=count)
    rng, means = np.random.default_rng(seed), np.empty((RESAMPLES, values.shape[1]))
    for start in range(0, RESAMPLES, _BLOCK):
        draws = rng.integers(0, count, (min(_BLOCK, RESAMPLES - start), count))
        means[start : start + _BLOCK] = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)[:, None]
    return means
