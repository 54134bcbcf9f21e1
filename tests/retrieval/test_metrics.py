from math import log2

import numpy as np
import pytest

from embeddings.errors import InvalidInput
from retrieval.metrics import bootstrap_interval, evaluate_rankings, query_values

pytest.importorskip("pytrec_eval", reason="needs the extra `eval`")

QRELS = {"a": {"d1": 2, "d2": 1, "d9": 0}, "b": {"d3": 1}, "c": {"d4": 1}}
RUN = {"a": ["d2", "d9", "d1"], "b": ["d8", "d3"], "c": []}


def test_values_agree_with_hand_computed_ones() -> None:
    values = query_values(QRELS, RUN)

    gained, ideal = 1 / log2(2) + 2 / log2(4), 2 / log2(2) + 1 / log2(3)
    assert values["ndcg@10"] == pytest.approx([gained / ideal, 1 / log2(3), 0])
    assert values["recall@10"] == pytest.approx([1, 1, 0])
    assert values["mrr@10"] == pytest.approx([1, 1 / 2, 0])
    assert values["map"] == pytest.approx([(1 / 1 + 2 / 3) / 2, 1 / 2, 0])


def test_ranks_below_ten_count_for_recall_at_100_and_map_only() -> None:
    run = {"b": [f"x{i:02}" for i in range(10)] + ["d3"]}

    values = {name: value[0] for name, value in query_values({"b": {"d3": 1}}, run).items()}

    assert values == pytest.approx(
        {"ndcg@10": 0, "recall@10": 0, "recall@100": 1, "mrr@10": 0, "map": 1 / 11}
    )


def test_order_of_the_run_decides_and_not_the_ids() -> None:
    qrels = {"q": {"m": 1}}

    assert query_values(qrels, {"q": ["m", "a", "z"]})["mrr@10"] == pytest.approx([1])
    assert query_values(qrels, {"q": ["z", "a", "m"]})["mrr@10"] == pytest.approx([1 / 3])


def test_queries_without_a_relevant_document_are_left_out() -> None:
    assert len(query_values({**QRELS, "none": {"d1": 0}, "empty": {}}, RUN)["map"]) == 3


def test_nothing_judged_is_refused() -> None:
    with pytest.raises(InvalidInput, match="relevant"):
        evaluate_rankings({"a": {"d1": 0}}, RUN)


def test_every_metric_comes_with_an_interval_around_it() -> None:
    figures = evaluate_rankings(QRELS, RUN)

    assert list(figures) == ["ndcg@10", "recall@10", "recall@100", "mrr@10", "map"]
    assert all(0 <= figure.low <= figure.value <= figure.high <= 1 for figure in figures.values())


def test_interval_is_the_same_for_the_same_seed_and_shrinks_with_more_queries() -> None:
    values = np.random.default_rng(0).random(50)

    few, many = bootstrap_interval(values), bootstrap_interval(np.tile(values, 20))

    assert few == bootstrap_interval(values)
    assert few != bootstrap_interval(values, seed=1)
    assert many.high - many.low < (few.high - few.low) / 3


def test_interval_covers_what_the_normal_approximation_covers() -> None:
    values = np.random.default_rng(0).random(400)

    interval = bootstrap_interval(values)

    margin = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.high - interval.value == pytest.approx(margin, rel=0.15)
    assert interval.value - interval.low == pytest.approx(margin, rel=0.15)
