"""How sure a reader may be of an answer: a logistic regression over what it noticed while reading."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from embeddings.errors import InvalidInput

# The longest gap to a rival that is told apart, in nats: at 10 the rival has a probability below 1 in 20,000.
MAX_MARGIN = 10.0
# Newton's method doubles the right digits with each step: from zero it is there in about six.
MAX_STEPS = 100
CONVERGED = 1e-10
# Next to nothing: it only keeps the scale of a score finite that parts all answers without a mistake.
SCALE_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Signals:
    """What a reader noticed about one answer. All are floats, so that they can be weighed alike.

    answer_logit: log odds of answering against refusing, at the first token.
    verdict_logit: log odds of accepting against refusing, after the answer was read again; 0 without verdict.
    log_likelihood: of the whole answer with its end, in nats, at most 0.
    margin: how much less likely the best answer that stands elsewhere is, in nats, at most `MAX_MARGIN`.
    coverage: share of the question's content words that stand near the answer, 0 to 1.
    tokens: of the answer. passages: that it was looked for in. sentences: 1 for whole ones, 0 for a span.
    """

    answer_logit: float
    verdict_logit: float
    log_likelihood: float
    margin: float
    coverage: float
    tokens: float
    passages: float
    sentences: float


SIGNAL_NAMES = tuple(field.name for field in fields(Signals))


class ConfidenceModel(msgspec.Struct, frozen=True):
    """Log odds of a right answer as a weighted sum of signals.

    weights: by name of the signal, in log odds per unit; a signal that is not named counts for nothing.
    Raises ValueError for a name that is no signal, or a figure that is not finite.
    """

    weights: dict[str, float]
    bias: float

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(SIGNAL_NAMES))
        if unknown:
            raise ValueError(f"unknown signals {unknown}; expected some of {list(SIGNAL_NAMES)}")
        if not all(map(math.isfinite, (self.bias, *self.weights.values()))):
            raise ValueError("a weight of the confidence is not finite")

    def logit(self, signals: Signals) -> float:
        """Log odds that an answer with these signals is right."""
        parts: list[float] = [weight * getattr(signals, name) for name, weight in self.weights.items()]
        return self.bias + sum(parts)

    def probability(self, signals: Signals) -> float:
        """Probability, 0 to 1, that an answer with these signals is right."""
        return float(_sigmoid(np.asarray(self.logit(signals))))


def fit_confidence(
    signals: Sequence[Signals], right: ArrayLike, l2: float, names: Sequence[str] = SIGNAL_NAMES
) -> ConfidenceModel:
    """Fit by logistic regression with a ridge; the same input gives the same model.

    right: (n,) whether the answer with these signals was right; a number between 0 and 1 for one that was
    partly so. l2: weight of half the squared norm of the
    standardised weights against the summed log loss; above 0, and the bias is free of it. names: the signals
    to use. Raises InvalidInput when a class is missing, sizes differ, or a signal is not finite.
    Source: le Cessie and van Houwelingen, Applied Statistics 1992 (Newton steps on the ridged likelihood).
    """
    labels = np.asarray(right, dtype=np.float64)
    table = np.array([[getattr(row, name) for name in names] for row in signals], dtype=np.float64)
    table = table.reshape(len(signals), len(names))
    _check(table, labels, l2)
    centre, scale = table.mean(axis=0), table.std(axis=0)
    scale[scale < 1e-9] = np.inf  # a signal that never changes can tell nothing: weight 0
    weights, bias = _newton((table - centre) / scale, labels, l2)
    weights = weights / scale
    folded = {name: float(weight) for name, weight in zip(names, weights, strict=True)}
    return ConfidenceModel(folded, float(bias - weights @ centre))


def recalibrated(model: ConfidenceModel, signals: Sequence[Signals], right: ArrayLike) -> ConfidenceModel:
    """The same order of answers with other probabilities: those of these answers being right.

    right: (n,) as in `fit_confidence`, whose errors it raises. Source: Platt, "Probabilistic outputs for
    support vector machines", 1999 (a logistic regression over the score alone).
    """
    labels = np.asarray(right, dtype=np.float64)
    logits = np.array([[model.logit(row)] for row in signals]).reshape(len(signals), 1)
    _check(logits, labels, SCALE_RIDGE)
    (slope,), bias = _newton(logits, labels, SCALE_RIDGE)
    weights = {name: float(slope * weight) for name, weight in model.weights.items()}
    return ConfidenceModel(weights, float(slope * model.bias + bias))


def _newton(
    table: NDArray[np.float64], labels: NDArray[np.float64], l2: float
) -> tuple[NDArray[np.float64], float]:
    """(n, k), (n,) -> weights (k,) and bias."""
    columns = np.hstack([table, np.ones((len(table), 1))])
    ridge = np.full(columns.shape[1], l2)
    ridge[-1] = 0.0
    beta = np.zeros(columns.shape[1])
    loss = _loss(columns, labels, ridge, beta)
    for _ in range(MAX_STEPS):
        step = _newton_step(columns, labels, ridge, beta)
        # A whole step may overshoot where the classes lie far apart; half of it, and so on, cannot for ever.
        while (shorter := _loss(columns, labels, ridge, beta - step)) > loss and np.abs(
            step
        ).max() > CONVERGED:
            step = step / 2
        beta, loss = beta - step, shorter
        if np.abs(step).max() <= CONVERGED:
            break
    return beta[:-1], float(beta[-1])


def _newton_step(
    columns: NDArray[np.float64],
    labels: NDArray[np.float64],
    ridge: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> NDArray[np.float64]:
    found = _sigmoid(columns @ beta)
    gradient = columns.T @ (found - labels) + ridge * beta
    curvature = (columns * (found * (1 - found))[:, None]).T @ columns + np.diag(ridge)
    curvature[-1, -1] += 1e-12  # where every probability is 0 or 1 the bias has no curvature left
    return np.asarray(np.linalg.solve(curvature, gradient))


def _loss(
    columns: NDArray[np.float64],
    labels: NDArray[np.float64],
    ridge: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> float:
    logits = columns @ beta
    return float(np.sum(np.logaddexp(0, logits) - labels * logits) + 0.5 * np.sum(ridge * beta**2))


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Through tanh, which does not overflow."""
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


def _check(table: NDArray[np.float64], labels: NDArray[np.float64], l2: float) -> None:
    if len(table) != labels.size or not l2 > 0:
        raise InvalidInput(
            f"{len(table)} signals, {labels.size} labels and l2={l2} cannot be fitted",
            found=f"{len(table)} signals, {labels.size} labels, l2={l2}",
            expected="as many labels as signals, and l2 above 0",
        )
    if not np.isfinite(table).all():
        raise InvalidInput("a signal is not finite", found="NaN or infinity", expected="finite numbers")
    if not ((labels >= 0) & (labels <= 1)).all():
        raise InvalidInput("a label is out of range", found="another number", expected="numbers from 0 to 1")
    if not 0 < labels.sum() < labels.size:
        missing = "right" if not labels.any() else "wrong"
        raise InvalidInput(
            f"no answer is {missing}, so there is nothing to tell apart",
            found=f"{labels.size} answers, none of them {missing}",
            expected="right and wrong ones",
            next_step="fit on more questions, among them some without an answer",
        )
