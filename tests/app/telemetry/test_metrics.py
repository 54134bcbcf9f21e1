"""What Prometheus reads, and what the dashboard draws of it."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient as Client
from litestar import Litestar
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from app.asgi import create_app
from app.resources import Resources
from app.services.types import Scope
from app.settings import Settings
from app.telemetry.families import live_metrics, stored_metrics
from app.telemetry.figures import (
    GateFigures,
    IndexFigures,
    JobFigures,
    LaneFigures,
    LimitFigures,
    LiveFigures,
    ProcessFigures,
    StorageFigures,
)
from app.telemetry.metrics import RequestMetrics
from embeddings.lane import LaneStatistics
from generation.causal.decoding import DecodingCounts
from generation.causal.engine import EngineStatistics
from generation.causal.prefixes import PrefixStatistics
from retrieval.index import IndexStatistics
from tests.app.http.conftest import Keys, application_of, connect

DASHBOARD = Path(__file__).parents[3] / "app" / "deploy" / "grafana-dashboard.json"

LIVE = LiveFigures(
    process=ProcessFigures("1.2.3", 7, 1.0, 10),
    lanes=(LaneFigures("model@1", "query", LaneStatistics(1, 20, 300, 400, 5)),),
    decoder=EngineStatistics(1, 2, 3, 4, DecodingCounts(5, 6, 8, 3), PrefixStatistics(1, 64, 100, 30, 9)),
    answers_in_flight=1,
    reranks_in_flight=2,
    indexes=(IndexFigures("notes", IndexStatistics(100, 10, 0.25, 7), 3, 1.5),),
    limits=LimitFigures((GateFigures("search", 1, 2, 3),), 4, 5, 6, 7, 0.01),
    query_log_dropped=6,
)


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by the sample's name and its labels' values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def existing_names() -> set[str]:
    """Every series that a service with a causal decoder gives."""
    metrics = RequestMetrics()
    metrics.count_request("GET", "/", 200, 0.1)
    metrics.count_stage("rank", 0.1)
    jobs, storage = JobFigures({"queued": 1}, 2.0), StorageFigures(1, 2, 3)
    families = [*metrics.collect(), *live_metrics(LIVE), *stored_metrics(jobs, storage)]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {each.name + suffix for each in families for suffix in suffixes.get(each.type, ("",))}


def queries(panel: dict[str, Any]) -> list[str]:
    inner = [query for each in panel.get("panels", []) for query in queries(each)]
    return inner + [target["expr"] for target in panel.get("targets", [])]


def drawn_names() -> set[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = [each["query"] for each in dashboard["templating"]["list"]]
    asked = [each["query"] for each in variables if isinstance(each, dict)]
    asked += [query for panel in dashboard["panels"] for query in queries(panel)]
    return {name for query in asked for name in re.findall(r"\b(?:footnote|process)_\w+", query)}


def test_the_dashboard_draws_exactly_what_exists() -> None:
    drawn, existing = drawn_names(), existing_names()
    assert drawn - existing == set()
    parts = {"_bucket", "_sum", "_count"}  # of a histogram one part is enough
    missing = {name for name in existing - drawn if not any(name.endswith(part) for part in parts)}
    assert missing == set()
    histograms = {name.removesuffix("_bucket") for name in existing if name.endswith("_bucket")}
    assert histograms == {name.removesuffix("_bucket") for name in drawn if name.endswith("_bucket")}


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        assert {"type", "title", "gridPos"} <= panel.keys()
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for query in queries(panel):
            assert query.count("(") == query.count(")")
            assert query.count("{") == query.count("}")


def test_every_query_groups_by_labels_that_its_metric_has() -> None:
    metrics = RequestMetrics()
    metrics.count_request("GET", "/", 200, 0.1)
    metrics.count_stage("rank", 0.1)
    labels = {
        sample.name: set(sample.labels) | {"le", "instance"}
        for family in [*metrics.collect(), *live_metrics(LIVE)]
        for sample in family.samples
    }
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for query in [query for panel in dashboard["panels"] for query in queries(panel)]:
        grouped = {
            each.strip() for group in re.findall(r"by \(([^)]*)\)", query) for each in group.split(",")
        }
        selected = set(re.findall(r"[{,]\s*(\w+)=", query))
        for name in re.findall(r"\bfootnote_\w+", query):
            if name in labels:
                assert grouped | selected <= labels[name], query


async def test_figures_of_the_service(client: Client, garden: str, keys: Keys) -> None:
    await client.post(f"/v1/collections/{garden}/search", json={"query": "tomatoes"})
    reply = await client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    found = samples(reply.text)
    assert found["footnote_index_chunks"][garden,] == 2
    assert found["footnote_index_lag_writes"][garden,] == 0
    assert found["footnote_jobs"]["queued",] == 0
    assert found["footnote_database_bytes"][()] > 0
    assert found["footnote_http_requests_total"]["POST", "/v1/collections/{name}/search", "200"] == 1
    lanes = found["footnote_encoder_texts_total"]
    assert sorted(lane for lane, _ in lanes) == ["bulk", "query"]
    assert sum(lanes.values()) == 3  # two chunks and a question
    assert found["footnote_encoder_tokens_total"].keys() == lanes.keys()
    assert found["process_resident_memory_bytes"][()] > 1e7


async def test_openmetrics_is_given_where_it_is_asked_for(client: Client) -> None:
    reply = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics_families(reply.text)} >= {"footnote_jobs"}


async def test_lag_is_what_the_next_search_has_to_take_in(
    admin: Client, resources: Resources, garden: str
) -> None:
    await admin.post(f"/v1/collections/{garden}/search", json={"query": "tomatoes"})
    await admin.post(f"/v1/collections/{garden}/documents", json={"documents": [{"text": "Beans."}]})
    before = samples((await admin.get("/metrics")).text)
    await admin.post(f"/v1/collections/{garden}/search", json={"query": "beans"})
    after = samples((await admin.get("/metrics")).text)
    lags = [found["footnote_index_lag_writes"][garden,] for found in (before, after)]
    assert lags == [1, 0]
    seconds = [found["footnote_index_lag_seconds"][garden,] for found in (before, after)]
    assert seconds[0] > 0 == seconds[1]


async def test_outside_loopback_a_key_is_needed(resources: Resources, settings: Settings, keys: Keys) -> None:
    application = application_of(resources, replace(settings, host="192.0.2.1"))
    async with connect(application) as client:
        await application.state.opening.wait_until_ready()
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=keys[Scope.READ])).status_code == 200


async def test_a_key_limited_to_collections_sees_no_figures_of_others(
    client: Client, resources: Resources
) -> None:
    key = await resources.keys.create("limited", [Scope.READ], ["garden"])
    for path in ("/metrics", "/v1/admin/stats"):
        reply = await client.get(path, headers={"Authorization": f"Bearer {key.token}"})
        assert reply.status_code in {401, 403, 404}, path


@pytest.mark.parametrize("path", ["/metrics", "/v1/admin/stats"])
async def test_before_the_service_is_ready_the_answer_is_503(path: str, settings: Settings) -> None:

    @asynccontextmanager
    async def never() -> AsyncIterator[Resources]:
        raise OSError("no disk")
        yield

    application: Litestar = create_app(settings, never, lambda _: None)
    async with connect(application) as client:
        assert (await client.get(path)).status_code == 503
