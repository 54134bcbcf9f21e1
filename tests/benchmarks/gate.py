"""How often the gate of a retraining accepts a true gain, and how often it takes a useless encoder for one.

    FOOTNOTE_DATA=FOLDER python -m tests.benchmarks gate

The bundled encoder's scores on real retrieval sets are retrained on paper: noise on each score, as every
retraining brings, and a shift of the right documents' scores, chosen such that the mean gain over all queries
is the true gain that is wanted. What a run sees are held-out queries drawn from those; what it decides is
compared with the truth. Also told: what a bootstrap's percentile would have decided, and what happens to
labels at random.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from retrieval.benchmark import RetrievalTask, load_task
from retrieval.comparison import resampled_means
from tests.benchmarks.environments import WORKPLACE
from training.siamese.bounds import CHANCE_CONFIDENCE, gain_bounds
from training.siamese.general import BUILT_IN, FOLDER
from training.siamese.plan import Gate

SETS = ("cranfield", "cosqa")
GAINS = (-1.0, 0.0, 1.0, 2.0, 3.0, 5.0)  # points of nDCG@10
QUERIES = (20, 50, 100, 200, 500)
# How far a retraining moves a cosine besides what it learns: little, as a short training does, and much.
NOISES = (0.01, 0.03)
CANDIDATES = 200  # documents of a query that noise can bring up
COPIES = 4  # retrainings of each query
PERCENTILE_RUNS = 1_000
RANDOM_DOCUMENTS = 300
_DISCOUNTS = 1 / np.log2(np.arange(2, 12))

Values = NDArray[np.float64]
Rule = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the documents that matter for each query: cosines, and grades; both (queries, candidates)."""

    cosines: NDArray[np.float32]
    grades: NDArray[np.float32]

    def ndcg(self, change: NDArray[np.float32] | float = 0.0) -> Values:
        """(queries,) nDCG@10 when the cosines change by so much."""
        gained = self._gained(self.cosines + change)
        values: Values = (gained / self._gained(self.grades)).astype(np.float64)
        return values

    def _gained(self, scores: NDArray[np.float32]) -> Values:
        """(queries,) the discounted gain of the ten best by these scores."""
        depth = min(10, scores.shape[1])
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        grades = np.take_along_axis(self.grades, np.take_along_axis(best, order, 1), 1)
        gained: Values = (grades * _DISCOUNTS[:depth]).sum(axis=1)
        return gained

    def retrained(self, gain: float, noise: float, seed: int = 0) -> Values:
        """(COPIES * queries,) gains of nDCG@10 whose mean is `gain`, as near as it can be."""
        rng, right, old = np.random.default_rng(seed), self.grades > 0, self.ndcg()
        noises = [rng.normal(0, noise, right.shape).astype(np.float32) for _ in range(COPIES)]
        low, high, gains = -0.5, 0.5, np.zeros(0)
        for _ in range(16):
            shift = (low + high) / 2
            gains = np.concatenate([self.ndcg(each + np.float32(shift) * right) - old for each in noises])
            low, high = (shift, high) if gains.mean() < gain else (low, shift)
        return gains


def score(task: RetrievalTask, encoder: Encoder) -> Scores:
    """Score all documents, and keep the best CANDIDATES of each query and the right ones."""
    print(f"encoding {len(task.documents):,} documents", file=sys.stderr)
    passages = encoder.encode(list(task.documents.values()), "passage")
    cosines = encoder.encode(list(task.queries.values()), "query") @ passages.T
    columns = {document: column for column, document in enumerate(task.documents)}
    grades = np.zeros_like(cosines)
    for row, query in enumerate(task.queries):
        for document, grade in task.qrels[query].items():
            if document in columns:
                grades[row, columns[document]] = max(grade, 0)
    # Right documents first, then the best of the others.
    order = np.argsort(-(cosines + 9 * (grades > 0)), axis=1)[:, :CANDIDATES]
    return Scores(np.take_along_axis(cosines, order, 1), np.take_along_axis(grades, order, 1))


def kept_scores(name: str, folder: Path, encoder: Encoder) -> Scores:
    """The scores of a set, encoded at the first call."""
    path = WORKPLACE / "gate" / f"{name}-{encoder.model_id}.npz"
    if not path.is_file():
        found = score(load_task(folder), encoder)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, cosines=found.cosines, grades=found.grades)
    kept = np.load(path)
    return Scores(kept["cosines"], kept["grades"])


def by_bound(gains: Values) -> bool:
    """What the gate decides with its defaults."""
    gate = Gate()
    return gain_bounds(gains, np.arange(len(gains)), gate.confidence).at_least * 100 > gate.min_gain


def by_percentile(gains: Values) -> bool:
    """What the percentile of a bootstrap would decide."""
    means = resampled_means(gains[:, None], np.arange(len(gains)))
    return float(np.quantile(means, 1 - Gate().confidence)) * 100 > Gate().min_gain


def acceptance(gains: Values, queries: int, rule: Rule, runs: int, seed: int = 0) -> float:
    """The share of runs that are accepted on so many queries, drawn from all."""
    draws = np.random.default_rng(seed).choice(gains, (runs, queries))
    return round(sum(rule(row) for row in draws) / runs, 3)


def random_labels(queries: int, runs: int, seed: int = 0) -> dict[str, float]:
    """Labels that have nothing to do with the queries: how often the bound alone and the gate are passed."""
    rng, passed = np.random.default_rng(seed), {"by the bound alone": 0, "by the gate": 0}
    everyone = np.arange(queries)
    chance = float(_DISCOUNTS.sum() / RANDOM_DOCUMENTS)
    for _ in range(runs):
        places = rng.integers(0, RANDOM_DOCUMENTS, (2, queries))
        old, new = np.where(places < 10, _DISCOUNTS[np.minimum(places, 9)], 0.0)
        by_gain = by_bound(new - old)
        sure = gain_bounds(new - chance, everyone, CHANCE_CONFIDENCE).at_least > 0
        passed["by the bound alone"] += by_gain
        passed["by the gate"] += by_gain and sure
    return {name: round(count / runs, 4) for name, count in passed.items()}


def rates(scores: Scores, noise: float, runs: int) -> dict[str, object]:
    """Rates of acceptance by true gain and number of held-out queries."""
    found: dict[str, object] = {}
    for wanted in GAINS:
        gains = scores.retrained(wanted / 100, noise)
        accepted = {str(count): acceptance(gains, count, by_bound, runs) for count in QUERIES}
        row: dict[str, object] = {
            "true": round(100 * float(gains.mean()), 2),
            "spread": round(100 * float(gains.std()), 1),
            "unchanged": round(float((np.abs(gains) < 1e-9).mean()), 2),
            "accepted": accepted,
        }
        if wanted == 0:
            few = min(runs, PERCENTILE_RUNS)
            row["by percentile"] = {
                str(count): acceptance(gains, count, by_percentile, few) for count in QUERIES
            }
        found[f"{wanted:+g}"] = row
    return found


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sets", nargs="*", default=SETS, help="folders in BEIR form under FOOTNOTE_DATA")
    parser.add_argument("--runs", type=int, default=2_000, help="judgements for each rate")


def measure(options: Namespace) -> Mapping[str, object]:
    """Rates by set and by noise."""
    encoder = Encoder.load(BUNDLED_ENCODER, threads=os.cpu_count() or 1)
    sets = {BUILT_IN: FOLDER / BUILT_IN} | _folders(options.sets)
    found: dict[str, dict[str, object]] = {}
    for name, folder in sets.items():
        scores = kept_scores(name, folder, encoder)
        found[name] = {"queries": len(scores.grades), "ndcg@10": round(float(scores.ndcg().mean()), 4)}
        for noise in NOISES:
            found[name][f"noise {noise:g}"] = rates(scores, noise, options.runs)
    luck = {str(count): random_labels(count, options.runs) for count in QUERIES}
    return {"confidence": Gate().confidence, "sets": found, "random labels": luck}


def _folders(names: Sequence[str]) -> dict[str, Path]:
    if "FOOTNOTE_DATA" not in os.environ:
        sys.exit("FOOTNOTE_DATA has to name the folder of development data")
    return {name: Path(os.environ["FOOTNOTE_DATA"]) / name for name in names}
