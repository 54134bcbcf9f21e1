"""How good answers and refusals are."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from generation.scripts import CJK

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CJK_TEXT = re.compile(f"[{CJK}]")
_UNIT = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
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
    return _best(lambda answer: float(answer_units(prediction) == answer_units(answer)), gold)


def f1_score(prediction: str, gold: Sequence[str]) -> float:
    """The best overlap F1 with one of the gold answers; without gold answers 1.0 for an empty prediction,
    else 0.0.
    """
    return _best(lambda answer: _overlap_f1(answer_units(prediction), answer_units(answer)), gold)


def _best(score: Callable[[str], float], gold: Sequence[str]) -> float:
    """The official script keeps the gold answers that normalisation does not empty, and [""] when none is
    left.
    """
    return max(map(score, [answer for answer in gold if answer_units(answer)] or [""]))


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
