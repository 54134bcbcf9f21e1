"""Rows of numbers to unit rows."""

import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import EncoderSpec
from embeddings.errors import InvalidInput


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


def check_dimensions(dimensions: int | None, spec: EncoderSpec) -> None:
    """Raise InvalidInput for a size that the model was not trained to be cut to; None is its own size."""
    offered = (spec.dimension, *spec.matryoshka_dimensions)
    if dimensions is not None and dimensions not in offered:
        expected = " or ".join(map(str, offered))
        raise InvalidInput(
            f"the model gives vectors of {expected} numbers, not of {dimensions}",
            field="dimensions",
            found=str(dimensions),
            expected=expected,
            next_step="leave `dimensions` out, or use a model that was trained to be cut to it",
        )
