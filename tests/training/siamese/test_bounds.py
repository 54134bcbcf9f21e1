import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_1samp

from training.siamese.bounds import above_chance, chance_ndcg, gain_bounds, same_answers, spearman_change


def test_bound_without_clusters_is_students() -> None:
    gains = np.random.default_rng(0).normal(0.02, 0.2, 40)

    found = gain_bounds(gains, np.arange(40), 0.95)

    expected = ttest_1samp(gains, 0).confidence_interval(0.9)
    assert (found.at_least, found.at_most) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(gains.mean())


def test_bound_takes_copies_of_a_query_for_one() -> None:
    gains = np.random.default_rng(0).normal(0.02, 0.2, 20)

    copied = gain_bounds(np.repeat(gains, 5), np.repeat(np.arange(20), 5), 0.95)

    assert copied.at_least == pytest.approx(gain_bounds(gains, np.arange(20), 0.95).at_least)


def test_single_cluster_proves_nothing() -> None:
    assert gain_bounds(np.ones(50) * 0.3, np.zeros(50, np.int64), 0.95).at_least == -1


def test_gain_of_nothing_is_not_above_nothing() -> None:
    assert gain_bounds(np.zeros(50), np.arange(50), 0.95).at_least == 0


def test_useless_change_is_taken_for_a_gain_no_more_often_than_stated() -> None:
    """Most queries stay, and the few that change do so by much: the values of a real set."""
    rng = np.random.default_rng(0)
    gains = rng.choice([0, 0, 0, 0, 0.4, -0.4, 0.1, -0.1], (2_000, 50))

    accepted = sum(gain_bounds(row, np.arange(50), 0.95).at_least > 0 for row in gains)

    assert accepted / 2_000 < 0.065


def test_questions_with_the_same_answer_are_one_and_classes_of_texts_are_not() -> None:
    many = {f"text {number}": 1 for number in range(20)}
    found = same_answers({"a": {"p": 1, "q": 0}, "b": {"p": 2}, "c": {"q": 1}, "d": many, "e": many})

    assert found["a"] == found["b"] != found["c"]
    assert found["d"] != found["e"]


@pytest.mark.parametrize(
    ("grades", "documents"), [({"a": 1}, 30), ({"a": 2, "b": 1, "c": 0}, 30), ({"a": 1}, 5)]
)
def test_chance_is_what_random_rankings_reach(grades: dict[str, int], documents: int) -> None:
    rng = np.random.default_rng(0)
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = np.zeros(documents)
    gains[: len(grades)] = list(grades.values())
    ideal = (np.sort(gains)[::-1][:10] * discounts[:documents]).sum()
    drawn = [(rng.permutation(gains)[:10] * discounts[:documents]).sum() / ideal for _ in range(4_000)]

    assert chance_ndcg(grades, documents) == pytest.approx(np.mean(drawn), rel=0.06)


def test_random_rankings_are_not_above_chance_and_real_ones_are() -> None:
    rng = np.random.default_rng(0)
    chance, clusters = np.full(100, chance_ndcg({"a": 1}, 300)), np.arange(100)
    places = rng.integers(1, 301, (400, 100))
    values = np.where(places <= 10, 1 / np.log2(places + 1), 0.0)

    assert sum(above_chance(row, chance, clusters) for row in values) <= 2
    assert above_chance(np.where(rng.random(100) < 0.3, 0.6, 0.0), chance, clusters)


def test_correlations_are_spearmans_and_their_gain_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.random(200) * 5) / 5
    old, new = scores + rng.normal(0, 0.5, 200), scores + rng.normal(0, 0.2, 200)

    change, error = spearman_change(old, new, scores)

    assert change.old == pytest.approx(spearmanr(old, scores).statistic)
    assert change.new == pytest.approx(spearmanr(new, scores).statistic)
    assert 0 < change.gain.low < change.gain.value < change.gain.high
    assert error == pytest.approx((change.gain.high - change.gain.low) / 3.92, rel=0.15)


def test_scores_that_do_not_vary_correlate_with_nothing() -> None:
    change, _ = spearman_change(np.arange(9.0), np.arange(9.0), np.ones(9))
    assert (change.old, change.new) == (0, 0)
