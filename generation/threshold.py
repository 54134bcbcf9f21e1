"""The refusal threshold that suits some labelled questions: who answers less is right more often.

Source: El-Yaniv and Wiener, "On the foundations of noise-free selective classification", JMLR 2010 (risk and
coverage); the F1 of a refusal is that of SQuAD 2.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Where only right and wrong are told apart, an answer that shares this much with a gold answer is right.
RIGHT_F1 = 0.5


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """What a reader that may not refuse made of one question.

    confidence: 0 to 1. f1: of the answer against the gold answers, 0 where there are none. refused_f1: what
    a refusal is worth, 1 where there are no gold answers, else 0. given: False where the reader wrote no
    answer, whatever the threshold.
    """

    confidence: float
    f1: float
    refused_f1: float
    given: bool = True

    @property
    def right(self) -> bool:
        """Whether the answer is right, or near enough."""
        return self.given and self.f1 >= RIGHT_F1


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """What comes of refusing below a threshold.

    answered: share of all questions; answers: how many. f1: over all questions, refusals included.
    precision: share of the answers that are right; 0 where there are none.
    """

    threshold: float
    answered: float
    answers: int
    f1: float
    precision: float


def threshold_curve(answers: Sequence[ScoredAnswer]) -> list[ThresholdPoint]:
    """A point for each threshold that makes a difference, ascending; the first refuses nothing.

    Thresholds lie about half-way between neighbouring confidences, in few digits. The last one refuses
    everything, unless the reader is wholly sure (confidence 1) of an answer. Raises ValueError when there are
    no answers.
    """
    if not answers:
        raise ValueError("no answers to draw a curve of")
    ordered = sorted(answers, key=lambda answer: answer.confidence)
    confidences = np.array([answer.confidence for answer in ordered])
    thresholds = _thresholds(confidences)
    first = np.searchsorted(confidences, thresholds, side="left")
    given = _from_each(np.array([answer.given for answer in ordered], np.float64))[first]
    right = _from_each(np.array([answer.right for answer in ordered], np.float64))[first]
    kept = _from_each(np.array([answer.f1 for answer in ordered]))[first]
    refused = np.array([answer.refused_f1 for answer in ordered])
    f1 = (kept + refused.sum() - _from_each(refused)[first]) / len(ordered)
    precision = np.divide(right, given, out=np.zeros_like(right), where=given > 0)
    columns = (thresholds, given / len(ordered), f1, precision, given.astype(int))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [ThresholdPoint(each, share, count, f, p) for each, share, f, p, count in rows]


def measure_threshold(answers: Sequence[ScoredAnswer], threshold: float) -> ThresholdPoint:
    """What comes of refusing below this threshold. Raises ZeroDivisionError when there are no answers."""
    told = [answer for answer in answers if answer.given and answer.confidence >= threshold]
    return ThresholdPoint(
        threshold,
        len(told) / len(answers),
        len(told),
        sum(told_f1(answer, threshold) for answer in answers) / len(answers),
        sum(answer.right for answer in told) / len(told) if told else 0.0,
    )


def best_f1_point(curve: Sequence[ThresholdPoint]) -> ThresholdPoint:
    """The point of the highest F1; the lowest threshold among equals, which answers most."""
    return max(curve, key=lambda point: (round(point.f1, 12), -point.threshold))


def precise_point(
    curve: Sequence[ThresholdPoint], precision: float, least_answers: int
) -> ThresholdPoint | None:
    """The lowest threshold from which on answers are right often enough; None when there is none.

    precision: 0 to 1. least_answers: fewer prove nothing.
    """
    reached = (point for point in curve if point.answers >= least_answers and point.precision >= precision)
    return next(reached, None)


def held_out_f1(answers: Sequence[ScoredAnswer], folds: int = 5) -> float:
    """F1 over all questions when each is judged by the threshold that is best for those of the other folds.

    The k-th question is in fold k modulo `folds`. Raises ValueError for fewer answers than folds.
    """
    if len(answers) < folds:
        raise ValueError(f"{len(answers)} answers cannot be cut into {folds} folds")
    total = 0.0
    for fold in range(folds):
        others = [answer for place, answer in enumerate(answers) if place % folds != fold]
        threshold = best_f1_point(threshold_curve(others)).threshold
        total += sum(told_f1(answer, threshold) for answer in answers[fold::folds])
    return total / len(answers)


def told_f1(answer: ScoredAnswer, threshold: float) -> float:
    """F1 of one question at a threshold."""
    return answer.f1 if answer.given and answer.confidence >= threshold else answer.refused_f1


def _thresholds(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    distinct = np.unique(confidences).tolist()
    edges = [*distinct, 1.0] if distinct[-1] < 1 else distinct
    return np.array([0.0, *(_between(lower, upper) for lower, upper in pairwise(edges))])


def _between(lower: float, upper: float) -> float:
    """A number above `lower` and not above `upper`, about half-way, of as few digits as will do."""
    tried = (round((lower + upper) / 2, digits) for digits in range(2, 17))
    return next((number for number in tried if lower < number <= upper), upper)


def _from_each(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) -> (n + 1,) sums from each place to the end, the last 0."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)
