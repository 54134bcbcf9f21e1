import numpy as np
import pytest

from embeddings.errors import InvalidInput
from retrieval.comparison import cluster_numbers, compare_rankings, resampled_means

pytest.importorskip("pytrec_eval", reason="needs the extra `eval`")

QRELS = {name: {f"right {name}": 1} for name in "abcd"}
BEST = {name: [f"right {name}"] for name in "abcd"}
SECOND = {name: ["wrong", f"right {name}"] for name in "abcd"}


def test_means_and_gains_are_those_of_the_two_rankings() -> None:
    found = compare_rankings(QRELS, SECOND, BEST)

    change = found.metrics["mrr@10"]
    assert (change.old, change.new, change.gain.value) == (0.5, 1.0, 0.5)
    assert list(found.metrics) == ["ndcg@10", "recall@100", "mrr@10"]
    assert found.metrics["recall@100"].gain.value == 0


def test_wins_losses_and_ties_are_counted_and_the_largest_change_comes_first() -> None:
    old = {"a": ["wrong", "right a"], "b": ["right b"], "c": ["right c"], "d": ["x", "y", "right d"]}
    new = {"a": ["right a"], "b": [], "c": ["right c"], "d": ["x", "right d"]}

    found = compare_rankings(QRELS, old, new)

    assert (found.queries, found.wins, found.losses, found.ties) == (4, 2, 1, 1)
    assert [change.query for change in found.changes] == ["b", "a", "d", "c"]
    assert found.changes[0].gain == -1


def test_query_that_a_run_lacks_counts_nothing_there() -> None:
    found = compare_rankings({"a": {"right a": 1}, "b": {"right b": 1}}, {}, {"a": ["right a"]})

    assert found.metrics["ndcg@10"].new == 0.5
    assert found.metrics["ndcg@10"].old == 0


def test_query_without_relevant_document_is_left_out() -> None:
    assert compare_rankings({**QRELS, "e": {"x": 0}}, BEST, BEST).queries == 4


def test_nothing_judged_is_refused() -> None:
    with pytest.raises(InvalidInput, match="relevant"):
        compare_rankings({"a": {"x": 0}}, {}, {})


def test_interval_is_of_the_paired_gain_and_not_of_the_two_means() -> None:
    """Easy and hard queries differ much; a gain that is the same everywhere is sure nevertheless."""
    qrels = {str(number): {"right": 1} for number in range(60)}
    old = {query: ["x"] * (int(query) % 2 * 8) + ["y", "right"] for query in qrels}
    old = {
        query: [f"{place}" if text == "x" else text for place, text in enumerate(run)]
        for query, run in old.items()
    }
    new = {query: [text for text in run if text != "y"] for query, run in old.items()}

    gain = compare_rankings(qrels, old, new).metrics["mrr@10"].gain

    assert 0 < gain.low < gain.value < gain.high
    assert gain.high - gain.low < 0.15


def test_interval_covers_no_gain_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for seed in range(200):
        gains = rng.normal(0, 1, (60, 1))
        low, high = np.quantile(resampled_means(gains, np.arange(60), seed), [0.05, 0.95])
        missed += not low <= 0 <= high

    assert 8 <= missed <= 40  # 10 % are expected, a little more with 60 values


def test_wider_confidence_gives_a_wider_interval_from_the_same_sample() -> None:
    qrels = {str(number): {"right": 1} for number in range(40)}
    new = {query: ["right"] if int(query) % 3 else [] for query in qrels}
    narrow, wide = (
        compare_rankings(qrels, {}, new, confidence=each).metrics["mrr@10"].gain for each in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_queries_of_a_cluster_are_drawn_together() -> None:
    """Ten copies of each query are no more evidence than the query itself."""
    rng = np.random.default_rng(1)
    gains = rng.normal(0, 1, (30, 1))
    copied, clusters = np.repeat(gains, 10, axis=0), np.repeat(np.arange(30), 10)

    alone = resampled_means(gains, np.arange(30)).std()
    together = resampled_means(copied, clusters).std()
    apart = resampled_means(copied, np.arange(300)).std()

    assert together == pytest.approx(alone, rel=0.15)
    assert apart < 0.5 * alone


def test_mean_of_unequal_clusters_is_over_queries() -> None:
    values, clusters = np.array([[1.0], [1.0], [1.0], [0.0]]), np.array([0, 0, 0, 1])

    assert set(np.round(resampled_means(values, clusters)[:, 0], 6)) == {0.0, 0.75, 1.0}


def test_query_outside_the_clusters_stands_for_itself() -> None:
    found = cluster_numbers(["a", "b", "c", "d"], {"a": "same", "c": "same", "d": "b"})

    assert found.tolist() == [0, 1, 0, 2]


def test_same_seed_gives_the_same_interval() -> None:
    qrels = {str(number): {"right": 1} for number in range(30)}
    new = {query: ["right"] if int(query) % 2 else [] for query in qrels}

    assert compare_rankings(qrels, {}, new, seed=3) == compare_rankings(qrels, {}, new, seed=3)
    assert compare_rankings(qrels, {}, new, seed=3) != compare_rankings(qrels, {}, new, seed=4)
