from argparse import Namespace
from typing import Any

import pytest

from tests.benchmarks.engines import measure
from tests.engines.postgres_fixtures import postgres_databases, postgres_url
from tests.engines.postgres_server import VARIABLE

__all__ = ["postgres_databases", "postgres_url"]


def test_benchmark_measures_each_engine_on_the_same_chunks(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, postgres_url)
    options = Namespace(
        chunks=120, dimension=8, queries=4, spread=0.7, engine=["faiss", "pgvector"], durable=False
    )
    figures: dict[str, Any] = measure(options)
    for name in options.engine:
        for part in ("all", "one_in_10"):
            assert figures[name][part]["recall_at_10"] == 1.0
            assert figures[name][part]["hybrid"]["p99_ms"] >= figures[name][part]["hybrid"]["p50_ms"] > 0
        assert figures[name]["apply_1_replaced"]["cpu_ms"] > 0
