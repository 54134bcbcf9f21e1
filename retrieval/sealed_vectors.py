"""The vectors of a build: FAISS, read from a file and never changed. The kind of index follows the size.

    flat    exact, float16                                   below 50,000 rows
    hnsw    graph over float16 (Malkov and Yashunin, 2018)    to a million
    ivf     inverted lists of 4-bit product codes, the best of them scored again in float16   above

Every kind holds the float16 values too, so scores are exact whatever found the rows, and a filter that lets
few rows pass is answered by scanning just those: filtered graphs lose most of them (recall .40 at 1 %).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput

MIN_HNSW_ROWS = 50_000
MAX_HNSW_ROWS = 1_500_000
HNSW_NEIGHBOURS = 32
HNSW_BUILD_EFFORT = 100  # efConstruction
# efSearch; FAISS takes the number of wanted rows where that is larger. recall@10 with 128 is .970 at 100,000
# rows and .954 at a million (`python -m tests.benchmarks scale`), so large graphs are walked further.
HNSW_EFFORT = 128
HNSW_LARGE_EFFORT = 256
LARGE_ROWS = 200_000
HNSW_FILTERED_EFFORT = 256
IVF_PROBES = 64
IVF_REFINED = 8  # rows scored again, per wanted row
IVF_TRAINING_ROWS = 256 * 1024
# Below so many allowed rows, or such a share, scanning them is quicker than walking past the others.
MAX_SCANNED_ROWS = 10_000
MAX_SCANNED_SHARE = 0.1

_Found = tuple[NDArray[np.int64], NDArray[np.float32]]


class IndexKind(StrEnum):
    """How the vectors of a build are searched."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"


def choose_kind(rows: int) -> IndexKind:
    """The kind that serves so many rows best on one machine."""
    if rows < MIN_HNSW_ROWS:
        return IndexKind.FLAT
    return IndexKind.HNSW if rows <= MAX_HNSW_ROWS else IndexKind.IVF


@dataclass(frozen=True, slots=True)
class SealedVectors:
    """A FAISS index that only reads. exact: the part of it that holds the float16 values."""

    kind: IndexKind
    index: faiss.Index
    exact: faiss.IndexScalarQuantizer

    @staticmethod
    def empty(dimension: int) -> "SealedVectors":
        return SealedVectors.of(IndexKind.FLAT, new_index(IndexKind.FLAT, dimension, 0))

    @staticmethod
    def of(kind: IndexKind, index: faiss.Index) -> "SealedVectors":
        """The vectors in an index that `new_index` made and that was filled, or read from a file.

        Raises InvalidInput when the index is of another kind.
        """
        parts = {IndexKind.FLAT: lambda i: i, IndexKind.HNSW: _storage, IndexKind.IVF: _refined}
        exact = parts[kind](index)
        if not isinstance(exact, faiss.IndexScalarQuantizer):
            raise InvalidInput(
                f"the FAISS file holds a {type(index).__name__}",
                field="index_kind",
                found=type(index).__name__,
                expected=f"an index of the kind {kind}",
            )
        return SealedVectors(kind, index, exact)

    @staticmethod
    def read(path: Path, kind: IndexKind) -> "SealedVectors":
        """Map the file that `write` made. Raises InvalidInput when it holds something else."""
        return SealedVectors.of(kind, faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self.index.d)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), dimension) the stored values of these rows."""
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        return np.asarray(self.exact.reconstruct_batch(rows))

    def search(self, query: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_]) -> _Found:
        """Rows and inner products of the best `depth` allowed rows, best first.

        query: (dimension,) unit length. allowed: (rows,). Never fewer rows than there are, up to `depth`.
        """
        passing = int(np.count_nonzero(allowed))
        depth = min(depth, passing)
        if depth == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        # One query runs on one thread anyway; without this OpenMP wakes a team of threads for each caller.
        faiss.omp_set_num_threads(1)
        selector = _selector(allowed) if passing < len(allowed) else None
        if self._is_scanned(passing):
            return self._scan(query, depth, selector)
        rows, scores = self._walk(query, depth, selector)
        return (rows, scores) if len(rows) == depth else self._scan(query, depth, selector)

    def _is_scanned(self, passing: int) -> bool:
        few = passing <= max(MAX_SCANNED_ROWS, MAX_SCANNED_SHARE * len(self))
        return self.kind == IndexKind.FLAT or few

    def _scan(self, query: NDArray[np.float32], depth: int, selector: Any) -> _Found:
        parameters = faiss.SearchParameters(sel=selector) if selector is not None else None  # type: ignore[call-arg]
        scores, rows = self.exact.search(query[None, :], depth, params=parameters)
        return rows[0], scores[0]

    def _walk(self, query: NDArray[np.float32], depth: int, selector: Any) -> _Found:
        """What the graph or the lists find; fewer than `depth` rows when they miss some."""
        parameters = _effort(self.kind, len(self), selector)
        scores, rows = self.index.search(query[None, :], depth, params=parameters)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def write(self, path: Path) -> None:
        faiss.write_index(self.index, str(path))


def new_index(kind: IndexKind, dimension: int, rows: int) -> Any:
    """An empty index for about so many rows; ivf has to be trained before rows are added."""
    index: Any = faiss.index_factory(dimension, _factory(kind, dimension, rows), faiss.METRIC_INNER_PRODUCT)
    if kind == IndexKind.HNSW:
        index.hnsw.efConstruction = HNSW_BUILD_EFFORT
    if kind != IndexKind.IVF:
        index.is_trained = True  # fp16 has nothing to learn
    return index


def copied_index(path: Path) -> Any:
    """The index of a file, in memory, so that rows can be added."""
    return faiss.read_index(str(path))


def _factory(kind: IndexKind, dimension: int, rows: int) -> str:
    if kind == IndexKind.FLAT:
        return "SQfp16"
    if kind == IndexKind.HNSW:
        return f"HNSW{HNSW_NEIGHBOURS},SQfp16"
    lists = 2 ** max(0, round(np.log2(4 * sqrt(max(rows, 1)))))
    codes = dimension // 2 if dimension % 2 == 0 else dimension
    return f"IVF{lists},PQ{codes}x4fs,Refine(SQfp16)"


def _storage(index: Any) -> Any:
    return faiss.downcast_index(index.storage) if hasattr(index, "storage") else index


def _refined(index: Any) -> Any:
    return faiss.downcast_index(index.refine_index) if hasattr(index, "refine_index") else index


# FAISS's Python layer takes arrays and keywords; its type stubs describe the C++ constructors.
_HNSWParameters: Any = faiss.SearchParametersHNSW  # type: ignore[attr-defined]


def _selector(allowed: NDArray[np.bool_]) -> Any:
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[arg-type, call-arg]


def _effort(kind: IndexKind, rows: int, selector: Any) -> Any:
    chosen = {} if selector is None else {"sel": selector}
    if kind == IndexKind.HNSW:
        effort = HNSW_LARGE_EFFORT if rows > LARGE_ROWS else HNSW_EFFORT
        if selector is not None:
            effort = max(effort, HNSW_FILTERED_EFFORT)
        return _HNSWParameters(efSearch=effort, **chosen)
    lists = faiss.SearchParametersIVF(nprobe=IVF_PROBES, **chosen)  # type: ignore[call-arg]
    return faiss.IndexRefineSearchParameters(k_factor=IVF_REFINED, base_index_params=lists)  # type: ignore[call-arg]
