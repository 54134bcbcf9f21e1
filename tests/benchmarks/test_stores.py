"""What the comparison of stores computes: exact answers, recall, the chosen setting, the tables."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.environments import PEERS
from tests.benchmarks.stores_report import markdown
from tests.benchmarks.stores_truth import Tried, choose_effort, exact_nearest, recall
from tests.benchmarks.workers import Worker, WorkerFailed

FAKE = """
import numpy as np
class Store:
    efforts, filtered_efforts, finds_words = ({"skip": 1}, {"skip": 0}), (), False
    def __init__(self, folder, threads, variant):
        self.path = folder / "vectors.npy"
    def fill(self, corpus):
        print("noise that a library prints")
        np.save(self.path, corpus.vectors)
        yield "searchable"
        yield "indexed"
    def open(self):
        self.vectors = np.load(self.path)
    def dense(self, question, effort):
        return np.argsort(-self.vectors @ question.vector)[effort["skip"]:]
"""


def test_exact_answers_are_those_of_a_full_sort_within_the_allowed_rows() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((500, 8)).astype(np.float16)
    queries = rng.standard_normal((20, 8)).astype(np.float32)
    allowed = np.arange(500) % 7 == 0
    scores = queries @ vectors.astype(np.float32).T
    scores[:, ~allowed] = -np.inf
    sorted_rows = np.argsort(-scores, axis=1)[:, :5]
    found = exact_nearest(vectors, queries, 5, allowed)
    assert [set(row) for row in found] == [set(row) for row in sorted_rows.tolist()]


def test_recall_counts_each_exact_answer_once_whatever_its_place() -> None:
    assert recall([[3, 1, 9], [5]], [[1, 2, 3], [5, 6, 7]]) == pytest.approx(3 / 6)


def test_chosen_effort_is_the_quickest_that_finds_enough() -> None:
    tried = {1: Tried({"n": 1}, 0.90, 0.1), 2: Tried({"n": 2}, 0.98, 0.5), 3: Tried({"n": 3}, 0.97, 0.3)}
    chosen = choose_effort([{"n": n} for n in tried], lambda effort: tried[effort["n"]], 0.97)
    assert chosen == tried[3]


def test_without_enough_recall_the_most_thorough_effort_is_chosen() -> None:
    tried = {1: Tried({"n": 1}, 0.90, 0.1), 2: Tried({"n": 2}, 0.95, 0.5), 3: Tried({"n": 3}, 0.95, 0.3)}
    chosen = choose_effort([{"n": n} for n in tried], lambda effort: tried[effort["n"]], 0.97)
    assert chosen == tried[3]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    vectors = np.eye(6, 4, dtype=np.float16)
    (tmp_path / "texts.json").write_text(json.dumps([f"text {i}" for i in range(6)]))
    (tmp_path / "queries.json").write_text(json.dumps(["a", "b"]))
    np.save(tmp_path / "vectors.npy", vectors)
    np.save(tmp_path / "queries.npy", vectors[:2].astype(np.float32))
    return tmp_path


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "fake_store.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [sys.executable, str(PEERS / "store_worker.py"), "fake_store", ""]
    with Worker(command, tmp_path / "log", threads=1) as started:
        yield started


def test_worker_fills_opens_and_searches_a_store(worker: Worker, corpus: Path) -> None:
    store = str(corpus / "store")
    filled = worker.ask("fill", corpus=str(corpus), folder=store, threads=1, size=4)
    assert 0 < filled["searchable_s"] <= filled["steps"]["indexed"] <= filled["filled_s"]
    opened = worker.ask("open", corpus=str(corpus), folder=store, threads=1)
    assert opened["disk_bytes"] >= 4 * 4 * 4
    answer = worker.ask("search", kind="dense", effort=opened["efforts"][1], first=0, count=2)
    assert [ids[0] for ids in answer["ids"]] == [0, 1]
    assert len(answer["seconds"]) == 2


def test_search_before_its_store_says_what_to_send(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="send the command `open` first"):
        worker.ask("search", kind="dense", effort={}, first=0, count=1)


def test_tables_hold_every_store_and_name_what_is_missing() -> None:
    dense = {"effort": {"ef": 64}, "queries_per_second": 5_000, "p50_ms": 0.2, "p99_ms": 0.4}
    searches: dict[str, Any] = {"dense": {**dense, "recall@10": 0.9712}}
    store = {
        "documents_per_second": 1_234,
        "filled_s": 8.1,
        "filling_peak_mb": 100,
        "serving_peak_mb": 50,
        "disk_mb": 16.4,
        "opening_ms": 12.0,
        "searches": searches,
    }
    size = {"stores": {"hnswlib": store}, "unavailable": {"Chroma": "pip failed"}}
    page = markdown({"threads": 2, "versions": ["hnswlib 0.8.0"], "sizes": {"10000": size}})
    assert "| hnswlib | 8.1 | 1,234 | 16 | 100 / 50 | 12 |" in page
    assert "| hnswlib | 5,000 | .971 | 0.2 / 0.4 | none | none |" in page
    assert "hnswlib ef=64" in page
    assert "could not be run here: Chroma" in " ".join(page.split())
