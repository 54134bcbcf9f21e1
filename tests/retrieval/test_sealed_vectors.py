"""Every kind of index against exact NumPy search, at every share of allowed rows."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.sealed_vectors import IndexKind, SealedVectors, choose_kind, new_index

ROWS, DIMENSION, DEPTH = 12_000, 32, 10
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9)


def make_vectors() -> NDArray[np.float32]:
    """Clustered unit rows of float16 values."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, DIMENSION))
    rows = centres[rng.integers(0, 60, ROWS)] + 0.7 * rng.standard_normal((ROWS, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


VECTORS = make_vectors()


@pytest.fixture(scope="module", params=list(IndexKind))
def sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SealedVectors:
    path: Path = tmp_path_factory.mktemp("faiss") / "vectors.faiss"
    index = new_index(request.param, DIMENSION, ROWS)
    if not index.is_trained:
        index.train(VECTORS)
    index.add(VECTORS)
    SealedVectors.of(request.param, index).write(path)
    return SealedVectors.read(path, request.param)


@pytest.mark.parametrize("share", SHARES)
def test_filtered_search_finds_as_many_as_exist_and_only_allowed_rows(
    sealed: SealedVectors, share: float
) -> None:
    rng = np.random.default_rng(int(share * 1_000))
    allowed = rng.random(ROWS) < share
    found, wanted = 0, 0
    for query in VECTORS[rng.integers(0, ROWS, 40)]:
        rows, scores = sealed.search(query, DEPTH, allowed)
        assert len(set(rows.tolist())) == min(DEPTH, int(allowed.sum()))
        assert allowed[rows].all()
        assert scores == pytest.approx(VECTORS[rows] @ query, abs=1e-3)
        exact = np.argsort(-np.where(allowed, VECTORS @ query, -2))[: len(rows)]
        found, wanted = found + len(set(rows.tolist()) & set(exact.tolist())), wanted + len(exact)
    assert found / wanted >= 0.95


def test_more_rows_than_exist_are_no_error(sealed: SealedVectors) -> None:
    allowed = np.zeros(ROWS, np.bool_)
    allowed[[3, 500]] = True
    assert set(sealed.search(VECTORS[3], 100, allowed)[0].tolist()) == {3, 500}
    assert len(sealed.search(VECTORS[3], 100, np.zeros(ROWS, np.bool_))[0]) == 0


def test_stored_values_come_back(sealed: SealedVectors) -> None:
    rows = np.array([5, 0, ROWS - 1])
    assert sealed.vectors(rows) == pytest.approx(VECTORS[rows], abs=1e-3)
    assert sealed.vectors(rows[:0]).shape == (0, DIMENSION)


def test_index_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="IndexFlat"):
        SealedVectors.of(IndexKind.FLAT, faiss.IndexFlatIP(DIMENSION))


@pytest.mark.parametrize(
    ("rows", "kind"),
    [(0, IndexKind.FLAT), (49_999, IndexKind.FLAT), (50_000, IndexKind.HNSW), (5_000_000, IndexKind.IVF)],
)
def test_kind_follows_the_size(rows: int, kind: IndexKind) -> None:
    assert choose_kind(rows) == kind
