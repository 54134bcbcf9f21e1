import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.metrics import (
    auroc,
    exact_match,
    f1_score,
    normalize_answer,
    precision_recall,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat's, pyjamas!", "cats pyjamas"),
        ("An apple a day", "apple day"),
        ("Theatre", "theatre"),
        ("the", ""),
        ("1754–1763", "1754–1763"),
    ],
)
def test_normalisation_is_that_of_squad(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    ("prediction", "gold", "em", "f1"),
    [
        ("the Eiffel Tower", ["Eiffel tower."], 1, 1),
        ("Eiffel Tower in Paris", ["Eiffel Tower"], 0, 2 * 2 / 6),
        ("Paris", ["London", "in Paris"], 0, 2 / 3),
        ("London", ["Paris"], 0, 0),
        ("", [], 1, 1),
        ("anything", [], 0, 0),
        ("", ["Paris"], 0, 0),
        ("the", ["Paris"], 0, 0),
        ("", ["the"], 1, 1),  # as in the official script: an empty gold answer counts as none
        ("la la land", ["la land"], 0, 2 * 2 / 5),
        ("1786年2月", ["1786年"], 0, 2 * 2 / 6),
        ("歐洲", ["歐洲。"], 1, 1),
        ("中國北京", ["北京"], 0, 2 * 2 / 6),
        ("Москва", ["в Москва"], 0, 2 / 3),
    ],
)
def test_em_and_f1_by_hand(prediction: str, gold: list[str], em: float, f1: float) -> None:
    assert exact_match(prediction, gold) == em
    assert f1_score(prediction, gold) == pytest.approx(f1)


def test_precision_and_recall_by_hand() -> None:
    assert precision_recall([True, True, False, True], [True, False, True, True]) == (2 / 3, 2 / 3)
    assert np.isnan(precision_recall([False, False], [True, False])[0])
    assert np.isnan(precision_recall([True, False], [False, False])[1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_auroc_equals_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool]]) -> None:
    positives = [score for score, positive in rows if positive]
    negatives = [score for score, positive in rows if not positive]
    area = auroc([score for score, _ in rows], [positive for _, positive in rows])
    if not positives or not negatives:
        assert np.isnan(area)
        return
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    assert area == pytest.approx(sum(pairs) / len(pairs))
