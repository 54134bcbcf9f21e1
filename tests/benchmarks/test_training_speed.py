import pytest

from tests.benchmarks.environments import OURS
from tests.benchmarks.training_speed import PEER, _distinct, summarise


def test_ratio_is_the_median_of_the_rounds_and_decides() -> None:
    rounds = [
        {OURS: {"seconds": [ours], "peak_mb": 1.0}, PEER: {"seconds": [10.0, 30.0], "peak_mb": 2.0}}
        for ours in (5.0, 4.0, 10.0)
    ]
    found = summarise(rounds, tokens=1000)
    assert found["ratios"] == [4.0, 5.0, 2.0]
    assert found["ratio"] == pytest.approx(4.0)
    assert found["median_tokens_per_s"] == {OURS: 200, PEER: 50}
    assert found["passed"]


def test_each_passage_is_taken_for_one_query() -> None:
    queries = {"1": "a", "2": "b", "3": "c"}
    qrels = {"1": {"x": 1}, "2": {"x": 1, "y": 1}, "3": {"y": 1, "z": 0}}
    assert list(_distinct(queries, qrels, {"x": "X", "y": "Y", "z": "Z"})) == [("a", "X"), ("b", "Y")]
