"""Rows of numbers to unit rows."""

import numpy as np
from numpy.typing import NDArray


def unit_rows(vectors: NDArray[np.float32], dimension: int | None = None) -> NDArray[np.float32]:
    """Scale rows (n, d) to length 1, after cutting them to their first `dimension` numbers.

    A model that was trained for it (Matryoshka) keeps its meaning in the first numbers; they have to be cut
    before they are scaled. Rows of zeros stay.
    Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022.
    """
    rows = np.asarray(vectors[:, :dimension], dtype=np.float32)
    lengths: NDArray[np.float32] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    lengths[lengths == 0] = 1
    return rows / lengths[:, None]
