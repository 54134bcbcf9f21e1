import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.background import PRIOR_DEVIATION, VectorMoments
from retrieval.dense import MIN_SEAL_ROWS, DenseSnapshot

DIMENSION = 16


def unit_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Random unit rows (count, DIMENSION) whose values are exact in float16."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def exact_search(
    rows: NDArray[np.float32], query: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_]
) -> list[int]:
    scores = rows @ query
    order = np.lexsort((np.arange(len(rows)), -scores))
    return [int(row) for row in order if allowed[row]][:depth]


def partly_sealed(rows: NDArray[np.float32], sealed: int) -> DenseSnapshot:
    first = DenseSnapshot.empty(DIMENSION).extended(rows[:sealed])
    return first.selected(np.arange(sealed)).extended(rows[sealed:])


@pytest.mark.parametrize("sealed", [0, 150, 200])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_search_agrees_with_exact_search_over_the_allowed_rows(sealed: int, share: float) -> None:
    rows, query = unit_rows(200), unit_rows(1, seed=1)[0]
    allowed = np.random.default_rng(2).random(200) < share

    found, scores = partly_sealed(rows, sealed).search(query, 20, allowed)

    assert found.tolist() == exact_search(rows, query, 20, allowed)
    np.testing.assert_allclose(scores, rows[found] @ query, atol=1e-6)


def test_fewer_allowed_rows_than_asked_for_come_without_padding() -> None:
    rows, allowed = unit_rows(50), np.zeros(50, np.bool_)
    allowed[[3, 40]] = True

    found, _ = partly_sealed(rows, 30).search(rows[3], 10, allowed)

    assert found.tolist() == [3, 40]


def test_empty_snapshot_finds_nothing() -> None:
    found, scores = DenseSnapshot.empty(DIMENSION).search(unit_rows(1)[0], 5, np.empty(0, np.bool_))

    assert len(found) == len(scores) == 0


def test_growing_leaves_the_earlier_snapshot_as_it_was() -> None:
    rows, query = unit_rows(60), unit_rows(1, seed=1)[0]
    before = partly_sealed(rows[:40], 30)
    expected = before.search(query, 5, np.ones(40, np.bool_))[0].tolist()

    after = before.extended(rows[40:])

    assert (len(before), len(after)) == (40, 60)
    assert before.search(query, 5, np.ones(40, np.bool_))[0].tolist() == expected


def test_sealing_keeps_every_value() -> None:
    rows = unit_rows(30)
    order = np.array([7, 29, 0, 12])

    sealed = partly_sealed(rows, 20).selected(order)

    np.testing.assert_array_equal(sealed.vectors(np.arange(4)), rows[order])


def test_long_delta_asks_for_sealing() -> None:
    long = DenseSnapshot.empty(DIMENSION).extended(unit_rows(MIN_SEAL_ROWS + 1))

    assert long.needs_sealing()
    assert not long.selected(np.arange(len(long))).needs_sealing()


def test_vector_of_another_model_is_refused_with_both_dimensions() -> None:
    with pytest.raises(InvalidInput, match=f"{DIMENSION}-d.*768"):
        DenseSnapshot.empty(DIMENSION).check_dimension(768)


def test_background_is_the_mean_and_deviation_of_all_scores() -> None:
    rows, query = unit_rows(5_000), unit_rows(1, seed=1)[0]
    moments = VectorMoments.empty(DIMENSION).added(rows[:1_000]).added(rows[1_000:])

    background = moments.background(query)

    assert background.mean == pytest.approx(float((rows @ query).mean()), abs=1e-6)
    assert background.deviation == pytest.approx(float((rows @ query).std()), rel=0.01)


def test_background_forgets_removed_vectors() -> None:
    rows, query = unit_rows(300), unit_rows(1, seed=1)[0]

    remaining = VectorMoments.empty(DIMENSION).added(rows).removed(rows[100:])

    expected = VectorMoments.empty(DIMENSION).added(rows[:100]).background(query)
    assert remaining.background(query).mean == pytest.approx(expected.mean, abs=1e-6)
    assert remaining.background(query).deviation == pytest.approx(expected.deviation, abs=1e-6)


def test_background_of_nothing_is_the_usual_deviation() -> None:
    background = VectorMoments.empty(DIMENSION).background(unit_rows(1)[0])

    assert background.mean == 0
    assert background.deviation == pytest.approx(PRIOR_DEVIATION)
