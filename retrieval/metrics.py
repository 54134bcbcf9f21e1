"""IR metrics with bootstrap intervals. NIST's trec_eval computes the values; it is in the extra `eval`
only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import FootnoteError, InvalidInput

Qrels = Mapping[str, Mapping[str, int]]  # query id -> document id -> grade; above 0 is relevant
Run = Mapping[str, Sequence[str]]  # query id -> document ids, best first

RESAMPLES = 1_000
CONFIDENCE = 0.95

# Our names, trec_eval's, and the depth to which a ranking is cut for it (recip_rank knows no cut of its own).
_MEASURES = (
    ("ndcg@10", "ndcg_cut_10", None),
    ("recall@10", "recall_10", None),
    ("recall@100", "recall_100", None),
    ("mrr@10", "recip_rank", 10),
    ("map", "map", None),
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over queries with its bootstrap interval, all between 0 and 1."""

    value: float
    low: float
    high: float


def evaluate_rankings(qrels: Qrels, run: Run, seed: int = 0) -> dict[str, Interval]:
    """Mean nDCG@10, recall@10, recall@100, MRR@10 and MAP with 95 % intervals.

    qrels: queries without a relevant document are left out. run: a query that is missing or empty counts 0.
    seed: of the bootstrap; one sample of queries serves all metrics.
    Raises InvalidInput when no query has a relevant document, FootnoteError without the extra `eval`.
    """
    values = query_values(qrels, run)
    return {name: bootstrap_interval(values[name], seed) for name, _, _ in _MEASURES}


def query_values(qrels: Qrels, run: Run) -> dict[str, NDArray[np.float64]]:
    """The metrics of each judged query, in the order of qrels: name -> (queries,).

    nDCG uses the grades as gains and log2(rank + 1) as discount. Raises as `evaluate_rankings` does.
    """
    judged = {query: dict(grades) for query, grades in qrels.items() if max(grades.values(), default=0) > 0}
    if not judged:
        raise InvalidInput(
            "no query has a relevant document",
            field="qrels",
            found=f"{len(qrels)} queries, none judged above 0",
            expected="at least one judgement above 0",
        )
    return {name: _measure(judged, run, measure, depth) for name, measure, depth in _MEASURES}


def bootstrap_interval(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """The mean of per-query values (queries,) with its percentile interval over resampled queries.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high))


def _measure(judged: Qrels, run: Run, measure: str, depth: int | None) -> NDArray[np.float64]:
    evaluator = _trec_eval().RelevanceEvaluator(judged, {measure})
    # trec_eval orders by score and breaks ties by id, so a rank becomes a score of its own.
    scores = {query: _descending(run.get(query, ())[:depth]) for query in judged}
    found = evaluator.evaluate(scores)
    return np.array([found[query][measure] for query in judged])


def _descending(ranking: Sequence[str]) -> dict[str, float]:
    return {document: float(len(ranking) - rank) for rank, document in enumerate(ranking)}


def _trec_eval() -> Any:
    try:
        return import_module("pytrec_eval")
    except ImportError as error:
        raise FootnoteError(
            "evaluating retrieval needs the library pytrec_eval",
            found="it is not installed",
            expected="the extra `eval`",
            next_step="pip install 'footnote[eval]'",
        ) from error
