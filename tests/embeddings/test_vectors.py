import numpy as np

from embeddings.vectors import unit_rows


def test_rows_get_length_one_and_keep_their_direction() -> None:
    rows = unit_rows(np.array([[3, 4], [0.5, 0]], dtype=np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [1, 0]], atol=1e-6)


def test_rows_are_cut_before_they_are_scaled() -> None:
    rows = unit_rows(np.array([[3, 4, 12]], dtype=np.float32), dimension=2)
    np.testing.assert_allclose(rows, [[0.6, 0.8]], atol=1e-6)


def test_zero_rows_stay_zero() -> None:
    assert unit_rows(np.zeros((2, 3), dtype=np.float32)).tolist() == [[0, 0, 0]] * 2
