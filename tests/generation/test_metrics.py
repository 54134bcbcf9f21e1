import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.metrics import (
    auroc,
    calibration_error,
    exact_match,
    f1_score,
    holds_answer,
    normalize_answer,
    precision_recall,
    reliability,
    rouge_l,
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


# The first three are of Lin's paper, the next three of the tests of Google's rouge-score; that library gives
# the same for 1,025 passages' beginnings against the answers of fairytaleqa/dev.
@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("police kill the gunman", ["police killed the gunman"], 3 / 4),
        ("the gunman kill police", ["police killed the gunman"], 2 / 4),
        ("the gunman police killed", ["police killed the gunman"], 2 / 4),
        ("testing", ["testing one two"], 1 / 2),
        ("testing two", ["testing one two"], 4 / 5),
        ("", ["testing one two"], 0),
        ("Testing, two!", ["nothing", "testing two"], 1),
        ("", [], 1),
        ("anything", [], 0),
        ("", ["..."], 1),
        ("中國北京", ["北京"], 2 * 2 / 6),
        ("Он жил в Москве", ["в Москве"], 2 * 2 / 6),
    ],
)
def test_rouge_l_is_that_of_the_paper_and_of_rouge_score(
    prediction: str, gold: list[str], expected: float
) -> None:
    assert rouge_l(prediction, gold) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("It was signed in Paris, in May.", ["in the Paris"], 1),
        ("It was signed in Paris.", ["London", "Paris"], 1),
        ("Paris in spring", ["in Paris"], 0),
        ("Parisian", ["Paris"], 0),
        ("他住在北京。", ["北京"], 1),
        ("", ["Paris"], 0),
        ("anything", [], 0),
        ("", [], 1),
    ],
)
def test_sentence_holds_an_answer_when_its_words_stand_in_it_together(
    prediction: str, gold: list[str], expected: float
) -> None:
    assert holds_answer(prediction, gold) == expected


def test_calibration_error_by_hand() -> None:
    confidence, right = [0.1, 0.3, 0.6, 1.0], [False, False, True, False]
    # Two bins: 0.2 against 0, and 0.8 against one half.
    assert calibration_error(confidence, right, bins=2) == pytest.approx((2 * 0.2 + 2 * 0.3) / 4)
    assert [each.count for each in reliability(confidence, right, bins=2)] == [2, 2]
    assert np.isnan(calibration_error([], []))


def test_honest_confidence_has_little_calibration_error_and_boasting_much() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(20_000)
    right = rng.random(20_000) < chance
    assert calibration_error(chance, right) < 0.02
    assert calibration_error(np.full(20_000, 0.9), right) == pytest.approx(0.4, abs=0.02)


def test_equal_confidences_share_a_bin_in_whatever_order_they_come() -> None:
    confidence, right = [0.5] * 10 + [0.9] * 2, [True, False] * 6
    found = reliability(confidence, right)
    assert [(each.count, each.confidence, each.right) for each in found] == [
        (10, pytest.approx(0.5), 0.5),
        (2, pytest.approx(0.9), 0.5),
    ]
    assert reliability(confidence[::-1], right[::-1]) == found
