import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.diversity import diversify


def unit_rows(*rows: list[float]) -> NDArray[np.float32]:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


TWO_SUBJECTS = unit_rows([1, 0], [1, 0.01], [1, 0.02], [0, 1])
SCORES = np.array([4.0, 3.9, 3.8, 2.0])


def test_no_diversity_keeps_the_order() -> None:
    assert diversify(TWO_SUBJECTS, SCORES, 0.0).tolist() == [0, 1, 2, 3]


def test_other_subject_comes_before_the_repetitions() -> None:
    assert diversify(TWO_SUBJECTS, SCORES, 0.7).tolist() == [0, 3, 1, 2]


def test_best_chunk_stays_first_and_none_is_lost() -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(*rng.standard_normal((50, 8)).tolist())
    scores = np.sort(rng.random(50))[::-1]

    order = diversify(vectors, scores, 0.5)

    assert order[0] == 0
    assert sorted(order.tolist()) == list(range(50))


@pytest.mark.parametrize("unit", [1.0, 1_000.0])
def test_order_does_not_depend_on_the_unit_of_the_scores(unit: float) -> None:
    assert diversify(TWO_SUBJECTS, SCORES * unit + 7, 0.3).tolist() == [0, 1, 2, 3]
    assert diversify(TWO_SUBJECTS, SCORES * unit + 7, 0.6).tolist() == [0, 3, 1, 2]


def test_equal_scores_are_told_apart_by_difference() -> None:
    assert diversify(TWO_SUBJECTS, np.full(4, 2.5), 0.1).tolist()[:2] == [0, 3]


def test_nothing_found_stays_nothing() -> None:
    assert len(diversify(np.empty((0, 2), np.float32), np.empty(0), 0.5)) == 0
