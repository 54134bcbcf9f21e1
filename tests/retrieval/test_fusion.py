from math import log

import numpy as np
import pytest

from retrieval.background import Background
from retrieval.fusion import (
    CODE_LEXICAL_WEIGHT,
    MAX_LEXICAL_EVIDENCE,
    MIN_DENSE_WEIGHT,
    dense_evidence,
    fuse_evidence,
    fuse_ranks,
    lexical_evidence,
    weigh_sides,
)
from retrieval.types import FusionWeights


def test_ranks_are_fused_by_their_reciprocals() -> None:
    fused = fuse_ranks([[1, 2, 3], [3, 1]], k=60)

    assert [chunk_id for chunk_id, _ in fused] == [1, 3, 2]
    assert dict(fused) == pytest.approx({1: 1 / 61 + 1 / 62, 3: 1 / 63 + 1 / 61, 2: 1 / 62})


def test_equal_reciprocal_ranks_are_ordered_by_id() -> None:
    assert [chunk_id for chunk_id, _ in fuse_ranks([[9, 2], [2, 9]])] == [2, 9]


def test_no_rankings_fuse_to_nothing() -> None:
    assert fuse_ranks([]) == []


def test_damping_below_one_rank_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        fuse_ranks([[1]], k=0)


@pytest.mark.parametrize(
    ("deviations", "tail"), [(-50.0, 1.0), (0.0, 0.5), (1.0, 0.158655), (3.0, 1.349898e-3), (6.0, 9.8659e-10)]
)
def test_dense_evidence_is_the_log_of_the_normal_tail(deviations: float, tail: float) -> None:
    background = Background(mean=0.2, deviation=0.1)
    scores = np.array([0.2 + deviations * 0.1], np.float32)

    assert dense_evidence(scores, background)[0] == pytest.approx(-log(tail), rel=1e-4, abs=1e-9)


def test_dense_evidence_stays_finite_for_a_score_far_above_the_background() -> None:
    evidence = dense_evidence(np.array([1.0], np.float32), Background(mean=0.0, deviation=1e-4))

    assert np.isfinite(evidence).all()


def test_scores_that_do_not_stand_out_carry_less_evidence() -> None:
    scores = np.array([0.5], np.float32)

    clear = dense_evidence(scores, Background(mean=0.05, deviation=0.08))
    blurred = dense_evidence(scores, Background(mean=0.40, deviation=0.06))

    assert clear[0] > 5 * blurred[0]


def test_lexical_evidence_is_bm25_up_to_the_cap() -> None:
    weak = np.array([3.0, 0.0, 7.5], np.float32)
    strong = np.array([80.0, 40.0], np.float32)

    np.testing.assert_allclose(lexical_evidence(weak), weak)
    np.testing.assert_allclose(lexical_evidence(strong), [MAX_LEXICAL_EVIDENCE, MAX_LEXICAL_EVIDENCE / 2])


def test_no_candidates_carry_no_evidence() -> None:
    nothing = np.empty(0, np.float32)

    assert len(lexical_evidence(nothing)) == len(dense_evidence(nothing, Background(0, 1))) == 0


def test_fused_evidence_is_the_weighted_sum() -> None:
    fused = fuse_evidence(np.array([4.0, 0.0]), np.array([1.0, 6.0]), FusionWeights(0.5, 1.0))

    np.testing.assert_allclose(fused, [3.0, 6.0])


def test_both_sides_count_fully_within_their_depth() -> None:
    assert weigh_sides(coverage=1.0, code_share=0.0) == FusionWeights(1.0, 1.0, ())


@pytest.mark.parametrize("coverage", [0.0, 0.2])
def test_encoder_that_knows_no_words_only_breaks_ties(coverage: float) -> None:
    weights = weigh_sides(coverage, code_share=0.0)

    assert (weights.dense, weights.lexical) == (MIN_DENSE_WEIGHT, 1.0)
    assert "vocabulary" in weights.reasons[0]


def test_trust_in_the_encoder_grows_with_the_words_it_knows() -> None:
    trust = [weigh_sides(coverage, 0.0).dense for coverage in (0.25, 0.4, 0.6, 0.75, 1.0)]

    assert trust == sorted(trust)
    assert trust[-2:] == [1.0, 1.0]


def test_words_count_less_in_source_code_in_proportion() -> None:
    whole, half = weigh_sides(1.0, code_share=1.0), weigh_sides(1.0, code_share=0.5)

    assert whole.lexical == pytest.approx(CODE_LEXICAL_WEIGHT)
    assert half.lexical == pytest.approx((1 + CODE_LEXICAL_WEIGHT) / 2)
    assert "source code" in whole.reasons[0]


def test_words_count_fully_where_the_query_quotes_code_or_code_is_rare() -> None:
    assert weigh_sides(1.0, code_share=1.0, names_code=True) == FusionWeights(1.0, 1.0, ())
    assert weigh_sides(1.0, code_share=0.03) == FusionWeights(1.0, 1.0, ())
