from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest

from embeddings.errors import InvalidInput
from retrieval.background import Background
from retrieval.candidates import Candidates
from retrieval.fusion import (
    CODE_LEXICAL_WEIGHT,
    MAX_LEXICAL_EVIDENCE,
    MIN_DENSE_WEIGHT,
    check_fusion,
    dense_evidence,
    fuse,
    fuse_evidence,
    fuse_ranks,
    fuse_scores,
    fused_weights,
    lexical_evidence,
    weigh_sides,
)
from retrieval.types import Fusion, FusionMethod, FusionWeights, Normalisation


def candidates(dense: list[float], lexical: list[float]) -> Candidates:
    """Both sides returned every chunk that they gave a score above 0."""
    count = len(dense)
    sides = [np.array(scores, np.float32) for scores in (dense, lexical)]
    ranks = [np.where(side > 0, (-side).argsort().argsort() + 1, 0) for side in sides]
    rows = np.arange(count)
    return Candidates(rows, rows, *sides, *ranks, Background(0.0, 0.1), FusionWeights(1.0, 0.5, ("code",)))


def test_ranks_are_fused_by_their_reciprocals() -> None:
    fused = fuse_ranks(np.array([1, 2, 3]), np.array([2, 0, 1]), k=60)

    np.testing.assert_allclose(fused, [1 / 61 + 1 / 62, 1 / 62, 1 / 63 + 1 / 61])


def test_larger_damping_lets_agreement_win_over_one_first_place() -> None:
    dense, lexical = np.array([1, 4]), np.array([0, 4])

    sharp, flat = (fuse_ranks(dense, lexical, k) for k in (1, 60))

    assert sharp[0] > sharp[1]
    assert flat[0] < flat[1]


def test_convex_combination_counts_from_the_least_that_a_score_can_be() -> None:
    dense, lexical = np.array([0.6, 0.2, -0.2], np.float32), np.array([0.0, 8.0, 4.0], np.float32)

    fused = fuse_scores(dense, lexical, Fusion(FusionMethod.CONVEX, alpha=0.25))

    np.testing.assert_allclose(fused, [0.25, 0.25 * 0.75 + 0.75, 0.25 * 0.5 + 0.75 * 0.5], rtol=1e-6)


def test_convex_combination_counts_from_the_worst_candidate_when_asked() -> None:
    dense, lexical = np.array([0.6, 0.2, -0.2], np.float32), np.array([2.0, 8.0, 5.0], np.float32)

    fused = fuse_scores(
        dense, lexical, Fusion(FusionMethod.CONVEX, alpha=0.25, normalisation=Normalisation.MIN_MAX)
    )

    np.testing.assert_allclose(fused, [0.25, 0.25 * 0.5 + 0.75, 0.75 * 0.5], rtol=1e-6)


@pytest.mark.parametrize("normalisation", Normalisation)
def test_side_that_found_no_word_counts_nothing_in_a_convex_combination(normalisation: Normalisation) -> None:
    dense, silent = np.array([0.6, 0.2], np.float32), np.zeros(2, np.float32)

    fused = fuse_scores(dense, silent, Fusion(FusionMethod.CONVEX, alpha=0.5, normalisation=normalisation))

    assert fused[0] == pytest.approx(0.5)
    assert np.isfinite(fused).all()


def test_evidence_is_weighed_by_the_query_and_by_the_collection() -> None:
    found = candidates([0.3, 0.1], [2.0, 6.0])
    dense = dense_evidence(found.dense_scores, found.background)

    fused = fuse(found, Fusion(dense_trust=0.25, lexical_trust=0.8))

    np.testing.assert_allclose(fused, 0.25 * dense + 0.5 * 0.8 * found.lexical_scores)
    weights = fused_weights(found.trust, Fusion(dense_trust=0.25, lexical_trust=0.8))
    assert (weights.dense, weights.lexical, weights.reasons) == (0.25, 0.4, ("code",))


def test_each_method_ranks_and_tells_its_weights() -> None:
    found = candidates([0.30, 0.29, 0.0], [0.0, 5.0, 6.0])

    best = {method: int(fuse(found, Fusion(method, alpha=0.9)).argmax()) for method in FusionMethod}
    told = {method: fused_weights(found.trust, Fusion(method, alpha=0.9)).method for method in FusionMethod}

    assert best == dict.fromkeys(FusionMethod, 1)
    assert told == {method: method for method in FusionMethod}


@pytest.mark.parametrize("method", FusionMethod)
def test_no_candidates_fuse_to_nothing(method: FusionMethod) -> None:
    assert len(fuse(candidates([], []), Fusion(method))) == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"k": 0}, "fusion.k"),
        ({"k": 10_001}, "fusion.k"),
        ({"alpha": 1.1}, "fusion.alpha"),
        ({"alpha": float("nan")}, "fusion.alpha"),
        ({"dense_trust": -0.1}, "fusion.dense_trust"),
        ({"lexical_trust": 2.0}, "fusion.lexical_trust"),
        ({"dense_trust": 0.0, "lexical_trust": 0.0}, "fusion.dense_trust"),
    ],
)
def test_parameter_out_of_range_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_fusion(replace(Fusion(), **changes))
    assert caught.value.field == field


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
