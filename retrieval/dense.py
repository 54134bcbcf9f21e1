"""Exact inner-product search over unit vectors: a sealed FAISS part and a small delta beside it.

FAISS is not safe for `add` during `search`, so nothing that is searched is ever changed: growing makes a new
snapshot that shares the sealed part and carries a longer delta; a delta that has grown too large is sealed
into a new FAISS index together with the old one. Both parts hold the same float16 values, so sealing
changes no score.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput

MIN_SEAL_ROWS = 4_096
SEAL_SHARE = 0.1  # of the sealed rows: a row is copied a bounded number of times while an index grows
_COPY_ROWS = 16_384  # rows turned to float32 at once while sealing: 25 MB at 384 dimensions


@dataclass(frozen=True, slots=True)
class DenseSnapshot:
    """Vectors by row, sealed rows first. delta: (rows, dimension), float16 values kept as float32 to
    multiply fast.
    """

    sealed: faiss.IndexScalarQuantizer
    delta: NDArray[np.float32]

    @staticmethod
    def empty(dimension: int) -> "DenseSnapshot":
        return DenseSnapshot(_new_sealed(dimension), np.empty((0, dimension), np.float32))

    def __len__(self) -> int:
        return int(self.sealed.ntotal) + len(self.delta)

    @property
    def dimension(self) -> int:
        return int(self.sealed.d)

    def check_dimension(self, found: int) -> None:
        """Raises InvalidInput when a vector of another model comes in."""
        check_dimension(self.dimension, found)

    def extended(self, vectors: NDArray[np.float32]) -> "DenseSnapshot":
        """With further rows (rows, dimension)."""
        return DenseSnapshot(self.sealed, np.concatenate([self.delta, vectors]))

    def needs_sealing(self) -> bool:
        return len(self.delta) > max(MIN_SEAL_ROWS, SEAL_SHARE * self.sealed.ntotal)

    def selected(self, rows: NDArray[np.int64]) -> "DenseSnapshot":
        """A sealed snapshot of only these rows, in this order."""
        sealed = _new_sealed(self.dimension)
        for start in range(0, len(rows), _COPY_ROWS):
            sealed.add(self.vectors(rows[start : start + _COPY_ROWS]))
        return DenseSnapshot(sealed, self.delta[:0])

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), dimension) the stored values of these rows."""
        result = np.empty((len(rows), self.dimension), np.float32)
        in_sealed = rows < self.sealed.ntotal
        result[in_sealed] = self.sealed.reconstruct_batch(rows[in_sealed])
        result[~in_sealed] = self.delta[rows[~in_sealed] - self.sealed.ntotal]
        return result

    def search(
        self, query: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and inner products of the best `depth` allowed rows, best first; ties by row.

        query: (dimension,) unit length. allowed: (rows,).
        """
        sealed_rows, sealed_scores = self._search_sealed(query, depth, allowed[: self.sealed.ntotal])
        delta_rows = np.flatnonzero(allowed[self.sealed.ntotal :])
        delta_scores = (self.delta @ query)[delta_rows]
        rows = np.concatenate([sealed_rows, delta_rows + self.sealed.ntotal])
        scores = np.concatenate([sealed_scores, delta_scores])
        best = np.lexsort((rows, -scores))[:depth]
        return rows[best], scores[best]

    def _search_sealed(
        self, query: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        depth = min(depth, int(np.count_nonzero(allowed)))
        if depth == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        # One query scans on one thread anyway; without this OpenMP wakes a team of threads for each caller.
        faiss.omp_set_num_threads(1)
        scores, rows = self.sealed.search(query[None, :], depth, params=_selection(allowed))
        return rows[0], scores[0]


def check_dimension(expected: int, found: int) -> None:
    """Raises InvalidInput when a vector has not the dimension of an index: another model made it."""
    if found != expected:
        raise InvalidInput(
            f"index holds {expected}-d vectors, encoder gives {found}",
            field="vector",
            found=f"{found} dimensions",
            expected=f"{expected} dimensions",
            next_step="encode with the model that the collection was built with, or reindex it",
        )


def _selection(allowed: NDArray[np.bool_]) -> faiss.SearchParameters | None:
    if allowed.all():
        return None
    bitmap = np.packbits(allowed, bitorder="little")
    # FAISS's Python layer takes the array and the keyword; its type stubs describe the C++ constructors.
    selector = faiss.IDSelectorBitmap(bitmap)  # type: ignore[arg-type, call-arg]
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]


def _new_sealed(dimension: int) -> faiss.IndexScalarQuantizer:
    sealed = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    sealed.is_trained = True  # fp16 has nothing to learn
    return sealed
