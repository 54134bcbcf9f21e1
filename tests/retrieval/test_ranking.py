"""What a search request may ask of the ranking: a fusion, a least score, variety."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.diversity import DIVERSE_POOL
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.types import Fusion, FusionMethod, IndexedChunk, RankedList, SearchMode

DIMENSION = 8


def unit(*towards: float) -> NDArray[np.float32]:
    vector = np.zeros(DIMENSION, np.float32)
    vector[: len(towards)] = towards
    return vector / np.float32(np.linalg.norm(vector))


def random_unit(seed: int) -> NDArray[np.float32]:
    return unit(*np.random.default_rng(seed).standard_normal(DIMENSION).tolist())


def indexed(*chunks: tuple[str, NDArray[np.float32]]) -> CollectionIndex:
    index = CollectionIndex(DIMENSION)
    numbered = enumerate(chunks, start=1)
    index.apply(
        [IndexedChunk(i, i, text, vector.astype(np.float16), {}) for i, (text, vector) in numbered], [], 1
    )
    return index


@pytest.fixture(scope="module")
def many() -> CollectionIndex:
    return indexed(*(("apple " * (i % 9) + f"word{i}", random_unit(i)) for i in range(400)))


def ids(ranked: RankedList) -> list[int]:
    return [chunk.chunk_id for chunk in ranked.chunks]


ALL_SIDES = SearchRequest("apple", random_unit(1_000), limit=100)


@pytest.mark.parametrize("method", FusionMethod)
def test_every_fusion_orders_by_its_score_and_says_which_it_was(
    many: CollectionIndex, method: FusionMethod
) -> None:
    ranked = many.search(replace(ALL_SIDES, fusion=Fusion(method)))
    scores = [chunk.score for chunk in ranked.chunks]

    assert scores == sorted(scores, reverse=True)
    assert ranked.weights is not None
    assert ranked.weights.method == method


def test_reciprocal_rank_score_is_made_of_the_ranks_that_are_shown(many: CollectionIndex) -> None:
    for chunk in many.search(replace(ALL_SIDES, fusion=Fusion(FusionMethod.RRF, k=7))).chunks:
        sides = [side for side in (chunk.dense, chunk.lexical) if side is not None]
        assert chunk.score == pytest.approx(sum(1 / (7 + side.rank) for side in sides if side.rank))


@pytest.mark.parametrize(("alpha", "mode"), [(1.0, SearchMode.DENSE), (0.0, SearchMode.LEXICAL)])
def test_convex_fusion_with_one_side_alone_ranks_as_that_side(
    many: CollectionIndex, alpha: float, mode: SearchMode
) -> None:
    fused = replace(ALL_SIDES, limit=30, fusion=Fusion(FusionMethod.CONVEX, alpha=alpha))

    assert ids(many.search(fused)) == ids(many.search(replace(ALL_SIDES, limit=30, mode=mode)))


@pytest.mark.parametrize("mode", SearchMode)
def test_least_score_leaves_out_exactly_what_is_below_it(many: CollectionIndex, mode: SearchMode) -> None:
    every = many.search(replace(ALL_SIDES, mode=mode))
    least = every.chunks[20].score

    kept = many.search(replace(ALL_SIDES, mode=mode, min_score=least))

    assert kept.chunks == tuple(chunk for chunk in every.chunks if chunk.score >= least)
    assert 20 < len(kept.chunks) < 100


@pytest.mark.parametrize("mode", SearchMode)
def test_varied_pages_follow_one_another(many: CollectionIndex, mode: SearchMode) -> None:
    request = replace(ALL_SIDES, mode=mode, limit=DIVERSE_POOL + 40, diversity=0.5)
    whole = ids(many.search(request))
    pages = [ids(many.search(replace(request, limit=80, offset=offset))) for offset in (0, 80, 160)]

    assert [chunk_id for page in pages for chunk_id in page] == whole
    assert len(set(whole)) == DIVERSE_POOL + 40
    assert whole != ids(many.search(replace(request, diversity=0.0)))


@pytest.mark.parametrize("mode", SearchMode)
def test_repetitions_make_room_for_another_subject(mode: SearchMode) -> None:
    index = indexed(
        ("fig fig fig", unit(1, 0)),
        ("fig fig fig", unit(1, 0.01)),
        ("fig fig fig", unit(1, 0.02)),
        ("fig plum pear", unit(0.7, 0, 0.7)),
        ("plum", unit(0, 0, 0, 1)),
    )
    request = SearchRequest("fig", unit(1, 0), mode, limit=2)

    assert 4 not in ids(index.search(request))
    assert ids(index.search(replace(request, diversity=0.8)))[1] in {4, 5}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"diversity": -0.1}, "diversity"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": float("nan")}, "diversity"),
        ({"min_score": float("inf")}, "min_score"),
        ({"fusion": Fusion(k=0)}, "fusion.k"),
        ({"fusion": Fusion(alpha=2.0), "mode": SearchMode.LEXICAL}, "fusion.alpha"),
    ],
)
def test_value_out_of_range_is_refused(many: CollectionIndex, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        many.search(replace(ALL_SIDES, **changes))
    assert caught.value.field == field
