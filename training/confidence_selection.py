"""Which signals make a confidence, judged on groups that it was not fitted to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from generation.confidence import SIGNAL_NAMES, ConfidenceModel, Signals, fit_confidence, recalibrated
from generation.threshold import ScoredAnswer

FOLDS = 5
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)
# A signal has to lower the log loss by at least so much, in nats an answer, to be kept.
LEAST_GAIN = 5e-4
# What a wrong answer to an answerable question counts for while the signals are weighed. With 0 they learn to
# tell right answers from wrong ones, with 1 answerable questions from others; a threshold needs both. Every
# third question of squad/dev with 0.5 and 0.8: AUROC of refusal .784, .798, F1 at the fitted threshold .614,
# .619.
CREDIT = 0.8
# How many of a question's words stand near the answer tells sets apart: with it the AUROC of squad/dev rose
# from .80 to .82, and nq_gold/dev, whose questions are key words, lost four points of F1 by refusals.
WEIGHED = tuple(name for name in SIGNAL_NAMES if name != "coverage")


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with refusal off, and what it was worth.

    answer: its confidence is the one that the reader told; group: of questions about the same passage, which
    is never split between fitting and judging; answerable: whether the passages held the answer.
    """

    signals: Signals
    answer: ScoredAnswer
    group: str
    answerable: bool

    @property
    def credit(self) -> float:
        """What the answer counts for while signals are weighed: 1 is right, 0 wrong."""
        return 1.0 if self.answer.right else CREDIT if self.answerable else 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """What does best out of fold. names: of the signals; l2: of `fit_confidence`; probabilities: (n,) that
    each answer is right, by the model of the other folds; log_loss: of the credits, in nats an answer.
    """

    names: tuple[str, ...]
    l2: float
    probabilities: NDArray[np.float64]
    log_loss: float


def select_signals(judged: Sequence[Judged]) -> Selection:
    """Start from all signals, and drop the one that is missed least for as long as none is missed.

    Raises InvalidInput when a fold has no wrong or no right answer to fit to, or there are too few groups.
    Source: backward elimination (Guyon and Elisseeff, JMLR 2003) by grouped cross-validation.
    """
    folds = split_groups([each.group for each in judged])
    best = _best_ridge(judged, folds, WEIGHED)
    while len(best.names) > 1:
        fewer = [_without(best.names, name) for name in best.names]
        tried = [out_of_fold(judged, folds, names, best.l2) for names in fewer]
        least = min(tried, key=lambda each: each.log_loss)
        if least.log_loss > best.log_loss + LEAST_GAIN:
            break
        best = least
    return _best_ridge(judged, folds, best.names)


def out_of_fold(
    judged: Sequence[Judged], folds: NDArray[np.int64], names: Sequence[str], l2: float
) -> Selection:
    """Judge each fold by the model of the others. folds: (n,) numbers of `split_groups`."""
    wanted = np.array([each.credit for each in judged])
    weighed, probabilities = np.zeros(len(judged)), np.zeros(len(judged))
    for fold in range(int(folds.max()) + 1):
        others = [each for each, number in zip(judged, folds.tolist(), strict=True) if number != fold]
        model = weigh(others, names, l2)
        scaled = rescale(model, others)
        for place in np.flatnonzero(folds == fold).tolist():
            weighed[place] = model.probability(judged[place].signals)
            probabilities[place] = scaled.probability(judged[place].signals)
    return Selection(tuple(names), l2, probabilities, _log_loss(weighed, wanted))


def weigh(judged: Sequence[Judged], names: Sequence[str], l2: float) -> ConfidenceModel:
    """Fitted to the credits of these answers."""
    return fit_confidence([each.signals for each in judged], [each.credit for each in judged], l2, names)


def rescale(model: ConfidenceModel, judged: Sequence[Judged]) -> ConfidenceModel:
    """With probabilities of being right."""
    return recalibrated(model, [each.signals for each in judged], [each.answer.right for each in judged])


def split_groups(groups: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """(n,) a fold for each answer: whole groups, the largest first, each into the smallest fold.

    Raises InvalidInput for fewer groups than folds.
    """
    counts = Counter(groups)
    if len(counts) < folds:
        raise InvalidInput(
            f"{len(counts)} groups cannot be cut into {folds} folds",
            found=f"{len(counts)} groups",
            expected=f"at least {folds}",
            next_step="hold out questions of more articles",
        )
    sizes, chosen = [0] * folds, {}
    for group, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        smallest = sizes.index(min(sizes))
        chosen[group] = smallest
        sizes[smallest] += count
    return np.array([chosen[group] for group in groups], np.int64)


def _best_ridge(judged: Sequence[Judged], folds: NDArray[np.int64], names: Sequence[str]) -> Selection:
    return min(
        (out_of_fold(judged, folds, names, l2) for l2 in RIDGES), key=lambda each: (each.log_loss, each.l2)
    )


def _without(names: tuple[str, ...], dropped: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != dropped)


def _log_loss(probabilities: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    clipped = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return float(-(wanted * np.log(clipped) + (1 - wanted) * np.log(1 - clipped)).mean())
