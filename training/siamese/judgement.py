"""Is the new encoder better than the one in service? Both are judged as they are served, by vectors alone.

The new one is promoted when all of this holds:

0. Held-out queries are judged by an encoder that has not seen them: by the new one, or with few of them by
   others that learned from the rest of the queries as the new one does from all (cross-validation).
1. There are enough held-out queries.
2. Their answers mean something: the new encoder finds them far more surely than chance would.
3. The lower bound of the gain on them, one-sided, is above `Gate.min_gain`.
4. On every general set the loss, as measured, is at most `Gate.max_general_loss`.

A gain has to be proven, so its bound counts. Of a loss the measured value counts: a general set is the same
for every training, so its queries are no sample that luck draws anew. With a few hundred queries, asking for
the bound would refuse most encoders that lose nothing. Nothing here needs torch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.encoder import Encoder
from retrieval.benchmark import RetrievalTask, rank_task
from retrieval.comparison import DECISIVE, Change, Comparison, cluster_numbers, compare_rankings
from retrieval.types import SearchMode
from training.siamese.bounds import (
    Bounds,
    above_chance,
    bounds_of,
    chance_ndcg,
    gain_bounds,
    same_answers,
    spearman_change,
)
from training.siamese.general import Task, load_general
from training.siamese.plan import Gate
from training.siamese.progress import Show
from training.siamese.splitting import ScoredTask

Values = NDArray[np.float64]

SPEARMAN = "spearman"
SHOWN_CHANGES = 20
# Of a corpus: ranked twice, they take some minutes. Which ones go is drawn, since choosing what one of the
# encoders finds hard would favour the other.
MAX_PASSAGES = 20_000
_SEED = 7


@dataclass(frozen=True, slots=True)
class Trial:
    """An encoder, and held-out examples that it has not seen."""

    task: Task
    new: Encoder


@dataclass(frozen=True, slots=True)
class ShownChange:
    """A query whose ranking changed much: its nDCG@10 before and after, 0 to 1."""

    query: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A set before and after, in points (0 to 100) of `measure`.

    gain_at_least, gain_at_most: one-sided bounds at the gate's confidence; meaningful: the new encoder is
    surely above chance; metrics: 0 to 1, with two-sided 95 % bootstrap intervals of the gain; wins, losses,
    ties: queries, None for scored pairs; passages: that were searched; largest: changes, up to 20.
    """

    measure: str
    examples: int
    passages: int
    old: float
    new: float
    gain: float
    gain_at_least: float
    gain_at_most: float
    meaningful: bool
    metrics: dict[str, Change]
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None
    largest: tuple[ShownChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to promote, why or why not in sentences, and the figures. general: by the sets' names."""

    promote: bool
    reasons: tuple[str, ...]
    domain: Judged
    general: dict[str, Judged]


def judge(
    domain: Sequence[Trial], general: Sequence[str | Path], old: Encoder, new: Encoder, gate: Gate, show: Show
) -> Verdict:
    """Compare two encoders on held-out examples and on general sets, the built-in one among them.

    domain: one trial of the new encoder, or those of a cross-validation, which rank the same documents.
    general: further sets, see `load_general`. Raises what that raises, before anything is encoded.
    """
    sets = load_general(general)
    found = {name: measure(name, task, old, new, gate, show) for name, task in sets.items()}
    return decide(_measure_trials("held-out", domain, old, gate, show), found, gate)


def measure(name: str, task: Task, old: Encoder, new: Encoder, gate: Gate, show: Show) -> Judged:
    """Rank or score one set with both encoders."""
    if isinstance(task, ScoredTask):
        return _judge_scores(name, task, old, new, gate, show)
    whole = thin(task)
    return _judge_ranking(name, whole, [(whole, new)], old, gate, show)


def _measure_trials(name: str, trials: Sequence[Trial], old: Encoder, gate: Gate, show: Show) -> Judged:
    if len(trials) == 1:
        return measure(name, trials[0].task, old, trials[0].new, gate, show)
    parts = [(each.task, each.new) for each in trials if isinstance(each.task, RetrievalTask)]
    queries = {key: text for task, _ in parts for key, text in task.queries.items()}
    qrels = {key: grades for task, _ in parts for key, grades in task.qrels.items()}
    whole = replace(parts[0][0], queries=queries, qrels=qrels)
    return _judge_ranking(name, whole, parts, old, gate, show)


def decide(domain: Judged, general: dict[str, Judged], gate: Gate) -> Verdict:
    """Apply the rule of this module to what was measured."""
    losing = {name: each for name, each in general.items() if -each.gain > gate.max_general_loss}
    refusals = [*_refusals(domain, gate), *(_loss(name, each, gate) for name, each in losing.items())]
    if refusals:
        return Verdict(False, tuple(refusals), domain, general)
    kept = [f"{name} changed by {each.gain:+.1f} points" for name, each in general.items()]
    return Verdict(True, (f"{_gain(domain, gate)}, above {gate.min_gain:g}", *kept), domain, general)


def _refusals(domain: Judged, gate: Gate) -> list[str]:
    refusals = []
    if domain.examples < gate.min_queries:
        refusals.append(f"only {domain.examples} held-out examples; at least {gate.min_queries} are needed")
    if not domain.meaningful:
        refusals.append(
            f"the held-out answers are not found more often than by chance ({domain.measure}"
            f" {domain.new:.1f}): their labels say nothing"
        )
    if not domain.gain_at_least > gate.min_gain:
        refusals.append(f"{_gain(domain, gate)}, which does not prove more than {gate.min_gain:g}")
    return refusals


def _gain(domain: Judged, gate: Gate) -> str:
    sure = f"at least {domain.gain_at_least:+.1f} with {gate.confidence:.0%} confidence"
    return (
        f"on held-out examples {domain.measure} went from {domain.old:.1f} to {domain.new:.1f}: a gain of"
        f" {domain.gain:+.1f} points, {sure}"
    )


def _loss(name: str, judged: Judged, gate: Gate) -> str:
    return (
        f"on the general set {name} {judged.measure} went from {judged.old:.1f} to {judged.new:.1f}; it may"
        f" lose {gate.max_general_loss:g} points"
    )


def thin(task: RetrievalTask, limit: int = MAX_PASSAGES) -> RetrievalTask:
    """The task with at most so many documents: all judged ones, and others drawn at random."""
    if len(task.documents) <= limit:
        return task
    judged = {document for grades in task.qrels.values() for document in grades}
    others = [document for document in task.documents if document not in judged]
    kept = {*judged, *random.Random(_SEED).sample(others, max(min(limit - len(judged), len(others)), 0))}
    return replace(task, documents={name: text for name, text in task.documents.items() if name in kept})


def _judge_ranking(
    name: str,
    task: RetrievalTask,
    parts: Sequence[tuple[RetrievalTask, Encoder]],
    old: Encoder,
    gate: Gate,
    show: Show,
) -> Judged:
    """parts: of the task, with the encoder that each is to be ranked by in place of the old one."""
    before = rank_task(task, old, SearchMode.DENSE, _named(show, f"{name}, old encoder"))
    after: dict[str, Sequence[str]] = {}
    for part, new in parts:
        after |= rank_task(part, new, SearchMode.DENSE, _named(show, f"{name}, new encoder"))
    clusters = same_answers(task.qrels)
    compared = compare_rankings(task.qrels, before, after, clusters=clusters)
    queries = [change.query for change in compared.changes]
    numbers = cluster_numbers(queries, clusters)
    gains = np.array([change.gain for change in compared.changes])
    values = np.array([change.new for change in compared.changes])
    chance = np.array([chance_ndcg(task.qrels[query], len(task.documents)) for query in queries])
    judged = _judged(
        "nDCG@10",
        compared.metrics[DECISIVE],
        gain_bounds(gains, numbers, gate.confidence),
        compared.queries,
        above_chance(values, chance, numbers),
    )
    return _with_queries(
        replace(judged, passages=len(task.documents), metrics=compared.metrics), compared, task
    )


def _with_queries(judged: Judged, compared: Comparison, task: RetrievalTask) -> Judged:
    shown = [change for change in compared.changes if change.gain][:SHOWN_CHANGES]
    return replace(
        judged,
        wins=compared.wins,
        losses=compared.losses,
        ties=compared.ties,
        largest=tuple(ShownChange(task.queries[each.query], each.old, each.new) for each in shown),
    )


def _judge_scores(name: str, task: ScoredTask, old: Encoder, new: Encoder, gate: Gate, show: Show) -> Judged:
    cosines: list[Values] = []
    for age, encoder in (("old", old), ("new", new)):
        _named(show, f"{name}, {age} encoder")("pairs", len(cosines), 2)
        first, second = encoder.encode(task.first, "query"), encoder.encode(task.second, "query")
        cosines.append(np.einsum("nd,nd->n", first, second).astype(np.float64))
    change, error = spearman_change(cosines[0], cosines[1], np.asarray(task.scores))
    degrees = max(len(task.scores) - 1, 1)
    sure = bounds_of(change.gain.value, error, degrees, gate.confidence)
    # Fisher: the correlation of unrelated values has a standard error of 1 / sqrt(n - 1).
    meaningful = change.new > 3.1 / np.sqrt(degrees)
    return _judged("Spearman correlation", change, sure, len(task.scores), bool(meaningful))


def _judged(measure: str, change: Change, bounds: Bounds, examples: int, meaningful: bool) -> Judged:
    return Judged(
        measure=measure,
        examples=examples,
        passages=0,
        old=_points(change.old),
        new=_points(change.new),
        gain=_points(bounds.value),
        gain_at_least=_points(bounds.at_least),
        gain_at_most=_points(bounds.at_most),
        meaningful=meaningful,
        metrics={SPEARMAN: change},
    )


def _points(share: float) -> float:
    return round(100 * share, 3)


def _named(show: Show, label: str) -> Show:
    return lambda what, done, total: show(f"{label}: {what}", done, total)
