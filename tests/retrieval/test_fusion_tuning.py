"""Tuning on made-up queries of which it is known which side is right."""

from importlib.util import find_spec

import numpy as np
import pytest

from embeddings.errors import InvalidInput
from retrieval.background import Background
from retrieval.candidates import Candidates
from retrieval.fusion import fuse
from retrieval.fusion_tuning import MIN_QUERIES, ScoredQuery, ndcg, tune_fusion
from retrieval.metrics import query_values
from retrieval.types import Fusion, FusionMethod, FusionWeights

CHUNKS = 40
DOCUMENTS = 25


def query(seed: int, dense_is_right: bool) -> ScoredQuery:
    """One side gives the two right documents its best scores; the other side scores at random."""
    rng = np.random.default_rng(seed)
    documents = np.concatenate([np.arange(DOCUMENTS), rng.integers(0, DOCUMENTS, CHUNKS - DOCUMENTS)])
    gains = np.zeros(DOCUMENTS)
    gains[rng.choice(DOCUMENTS, 2, replace=False)] = [1, 2]
    right = (gains[documents] * 0.2 + rng.random(CHUNKS) * 0.1).astype(np.float32)
    wrong = (rng.random(CHUNKS) * 0.5).astype(np.float32)
    dense, lexical = (right, wrong * 20) if dense_is_right else (wrong, right * 20)
    ranks = [(-side).argsort().argsort() + 1 for side in (dense, lexical)]
    ids = np.arange(CHUNKS)
    candidates = Candidates(ids, ids, dense, lexical, *ranks, Background(0.0, 0.1), FusionWeights(1.0, 1.0))
    return ScoredQuery(candidates, documents, gains, np.array([2.0, 1.0]))


@pytest.fixture(scope="module")
def words_are_right() -> list[ScoredQuery]:
    return [query(seed, dense_is_right=False) for seed in range(60)]


@pytest.fixture(scope="module")
def meaning_is_right() -> list[ScoredQuery]:
    return [query(seed, dense_is_right=True) for seed in range(60)]


def test_side_that_is_right_gets_the_weight(
    words_are_right: list[ScoredQuery], meaning_is_right: list[ScoredQuery]
) -> None:
    for queries, dense_wins in ((words_are_right, False), (meaning_is_right, True)):
        fitted = {each.fusion.method: each.fusion for each in tune_fusion(queries, Fusion()).fitted}
        assert (fitted[FusionMethod.CONVEX].alpha > 0.5) == dense_wins
        evidence = fitted[FusionMethod.EVIDENCE]
        assert (evidence.dense_trust > evidence.lexical_trust) == dense_wins


def test_better_fusion_gains_on_queries_that_it_was_not_fitted_on(words_are_right: list[ScoredQuery]) -> None:
    report = tune_fusion(words_are_right, Fusion(FusionMethod.RRF))

    assert report.is_better
    assert report.best.gain.low > 0
    assert report.best.gain.value == pytest.approx(report.best.held_out.value - report.present.held_out.value)
    assert (report.train_queries, report.held_out_queries) == (30, 30)


def test_fusion_in_service_does_not_gain_over_itself(words_are_right: list[ScoredQuery]) -> None:
    best = tune_fusion(words_are_right, Fusion()).best.fusion

    again = tune_fusion(words_are_right, best)

    assert (again.present.gain.value, again.present.gain.low) == (0.0, 0.0)
    assert again.best.fusion == best
    assert not again.is_better


def test_what_cannot_be_told_apart_is_not_better() -> None:
    """Grades at random: whatever fits one half of the queries means nothing on the other."""
    rng = np.random.default_rng(5)
    queries = [query(seed, dense_is_right=bool(seed % 2)) for seed in range(40)]
    for each in queries:
        each.gains[:] = rng.permutation(each.gains)

    assert not tune_fusion(queries, Fusion()).is_better


def test_split_is_the_same_for_the_same_seed(words_are_right: list[ScoredQuery]) -> None:
    first, same, other = (tune_fusion(words_are_right, Fusion(), seed) for seed in (1, 1, 2))

    assert first == same
    assert first.present != other.present


def test_too_few_queries_are_refused(words_are_right: list[ScoredQuery]) -> None:
    with pytest.raises(InvalidInput, match="too few"):
        tune_fusion(words_are_right[: MIN_QUERIES - 1], Fusion())


def test_ndcg_of_documents_is_that_of_trec_eval(words_are_right: list[ScoredQuery]) -> None:
    if find_spec("pytrec_eval") is None:
        pytest.skip("the extra `eval` is not installed")
    fusion = Fusion(FusionMethod.CONVEX, alpha=0.7)
    qrels, run = {}, {}
    for i, each in enumerate(words_are_right):
        order = np.argsort(-fuse(each.candidates, fusion), kind="stable")
        run[str(i)] = list(dict.fromkeys(str(document) for document in each.documents[order]))
        qrels[str(i)] = {str(d): int(gain) for d, gain in enumerate(each.gains) if gain}

    np.testing.assert_allclose(ndcg(words_are_right, fusion), query_values(qrels, run)["ndcg@10"])
