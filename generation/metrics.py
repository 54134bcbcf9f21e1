"""How good answers and refusals are."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from generation.scripts import CJK

CALIBRATION_BINS = 15
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CJK_TEXT = re.compile(f"[{CJK}]")
_UNIT = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
_ROUGE_UNIT = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower-case, without ASCII punctuation, English articles and extra space.

    Source: the official SQuAD 2.0 evaluation script (Rajpurkar et al., ACL 2018).
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def answer_units(text: str) -> list[str]:
    """What F1 counts: the normalised words; in a text with Chinese, each Chinese character and each other
    word.

    Source for Chinese: the evaluation of MLQA (Lewis et al., ACL 2020), which drops all Unicode punctuation.
    """
    if _CJK_TEXT.search(text):
        return _UNIT.findall("".join(filter(_is_not_punctuation, text.lower())))
    return normalize_answer(text).split()


def _is_not_punctuation(character: str) -> bool:
    return not unicodedata.category(character).startswith("P") and character not in string.punctuation


def exact_match(prediction: str, gold: Sequence[str]) -> float:
    """1.0 when the prediction is one of the gold answers after normalisation; without gold answers, when it
    is empty.
    """
    units = answer_units(prediction)
    return _best(lambda answer: float(units == answer), gold, answer_units)


def f1_score(prediction: str, gold: Sequence[str]) -> float:
    """The best overlap F1 with one of the gold answers; without gold answers 1.0 for an empty prediction,
    else 0.0.
    """
    units = answer_units(prediction)
    return _best(lambda answer: _overlap_f1(units, answer), gold, answer_units)


def rouge_l(prediction: str, gold: Sequence[str]) -> float:
    """The best F-measure, 0 to 1, of the longest common subsequence of words with one of the gold answers;
    without gold answers 1.0 for an empty prediction, else 0.0.

    Words are runs of letters and digits, each Chinese character one of its own; precision and recall weigh
    alike, and nothing is stemmed: as in Google's rouge-score. Source: Lin, "ROUGE", ACL workshop 2004.
    """
    units = _rouge_units(prediction)
    return _best(lambda answer: _subsequence_f1(units, answer), gold, _rouge_units)


def holds_answer(prediction: str, gold: Sequence[str]) -> float:
    """1.0 when the normalised words of a gold answer stand in the prediction, side by side; without gold
    answers, when the prediction is empty.
    """
    said = answer_units(prediction)

    def held(answer: list[str]) -> float:
        starts = range(len(said) - len(answer) + 1)
        return float(
            any(said[start : start + len(answer)] == answer for start in starts) if answer else not said
        )

    return _best(held, gold, answer_units)


def _rouge_units(text: str) -> list[str]:
    return _ROUGE_UNIT.findall(text.lower())


def _subsequence_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    return 2 * _longest_common(predicted, gold) / (len(predicted) + len(gold))


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row of the usual table."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            diagonal, row[place] = (
                row[place],
                diagonal + 1 if word == other else max(row[place], row[place - 1]),
            )
    return row[-1]


def _best(
    score: Callable[[list[str]], float], gold: Sequence[str], units: Callable[[str], list[str]]
) -> float:
    """The official script keeps the gold answers that normalisation does not empty, and one that is empty
    when none is left.
    """
    return max(map(score, [kept for kept in map(units, gold) if kept] or [[]]))


def _overlap_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * common / (len(predicted) + len(gold))


def precision_recall(predicted: ArrayLike, actual: ArrayLike) -> tuple[float, float]:
    """Precision and recall of boolean predictions, both (n,); NaN where there is nothing to divide by."""
    predicted_flags, actual_flags = np.asarray(predicted, dtype=bool), np.asarray(actual, dtype=bool)
    hits = int(np.sum(predicted_flags & actual_flags))
    return _ratio(hits, int(predicted_flags.sum())), _ratio(hits, int(actual_flags.sum()))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive outscores a negative, a tie counting half.

    scores, positive: (n,). NaN when one of the classes is absent. Source: Mann and Whitney, 1947 (mean
    ranks).
    """
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    n_positive = int(flags.sum())
    n_negative = flags.size - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = float(_mean_ranks(values)[flags].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) -> (n,) ranks from 1, equal values sharing the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts + 1) / 2)[group]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Some answers of like confidence. count: of answers; confidence, right: their means, 0 to 1."""

    count: int
    confidence: float
    right: float


def reliability(
    confidence: ArrayLike, right: ArrayLike, bins: int = CALIBRATION_BINS
) -> list[ReliabilityBin]:
    """How often answers are right, by their confidence, in bins of about equally many; least sure first.

    confidence, right: (n,). Equal confidences share a bin, so there may be fewer bins than asked for.
    Source: Nguyen and O'Connor, EMNLP 2015 (bins of equal mass).
    """
    values, flags = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if not values.size:
        return []
    places = np.arange(1, bins) * values.size // bins
    number = np.searchsorted(np.unique(np.sort(values)[places]), values, side="right")
    chosen = (number == each for each in np.unique(number))
    return [
        ReliabilityBin(int(one.sum()), float(values[one].mean()), float(flags[one].mean())) for one in chosen
    ]


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error, 0 to 1: the mean gap between the confidence and the share of right answers
    in the bins of `reliability`. NaN without answers.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, with bins of equal mass.
    """
    found = reliability(confidence, right, bins)
    gaps = sum(each.count * abs(each.confidence - each.right) for each in found)
    return gaps / sum(each.count for each in found) if found else float("nan")
