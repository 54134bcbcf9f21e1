"""What every request leaves behind: an id, a line, figures."""

import logging
import re
from collections.abc import Awaitable, Callable

import pytest
from httpx import AsyncClient as Client
from httpx import Response
from litestar import Litestar

from app.resources import Resources
from app.telemetry.context import request_id
from app.telemetry.metrics import RequestMetrics
from tests.app.http.conftest import Keys

Post = Callable[..., Awaitable[Response]]


def value_of(application: Litestar, name: str, **labels: str) -> float:
    """A sample of the request metrics; 0 for a series that is not there."""
    metrics: RequestMetrics = application.state.metrics
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_every_reply_has_an_id_of_its_own(client: Client) -> None:
    ids = {
        (await client.get(path)).headers["X-Request-Id"] for path in ("/health/live", "/nowhere", "/v1/jobs")
    }
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in ids)


async def test_a_client_may_choose_the_id(client: Client) -> None:
    reply = await client.get("/health/live", headers={"X-Request-Id": "trace-7.a_B"})
    assert reply.headers["X-Request-Id"] == "trace-7.a_B"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "-x", "{}", "a\tb", "снег".encode()])
async def test_an_id_that_could_forge_a_line_is_replaced(client: Client, given: str | bytes) -> None:
    reply = await client.get("/health/live", headers={b"X-Request-Id": given})  # type: ignore[dict-item]
    assert re.fullmatch(r"[0-9a-f]{16}", reply.headers["X-Request-Id"])


async def test_the_access_log_tells_who_asked_what_and_no_secret(
    client: Client, keys: Keys, garden: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="footnote.access"):
        await client.get(f"/v1/collections/{garden}/documents?limit=1&token=hunter2")
        await client.get("/nowhere?token=hunter2", headers={"Cookie": "footnote_session=hunter2"})
    first, second = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
    assert first["route"] == "/v1/collections/{name}/documents"
    assert first["path"] == f"/v1/collections/{garden}/documents"
    assert first["status"] == 422  # the token is an unknown parameter
    assert first["took_ms"] >= 0
    assert first["bytes"] > 0
    assert (second["route"], second["status"]) == ("unmatched", 404)
    assert "hunter2" not in caplog.text + str(first) + str(second)
    assert not any(key["Authorization"][7:] in str(first) for key in keys.values())


async def test_health_checks_are_heard_at_the_level_debug_unless_they_fail(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="footnote.access"):
        await client.get("/health/live")
        await client.put("/health/live")
    assert [(record.levelname, record.fields["status"]) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("DEBUG", 200),
        ("INFO", 405),
    ]


async def test_the_line_names_the_key(admin: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="footnote.access"):
        await admin.post("/v1/collections", json={"name": "named"})
    (record,) = caplog.records
    assert record.fields["caller"] == "admin"  # type: ignore[attr-defined]
    assert record.getMessage() == "POST /v1/collections 201"


async def test_lines_within_a_request_have_its_id(
    application: Litestar, post: Post, garden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    search = application.state.opening.resources.search
    monkeypatch.setattr(search, "_check", lambda _: seen.append(request_id()))
    reply = await post("search", query="tomatoes")
    assert seen == [reply.headers["X-Request-Id"]]
    assert request_id() is None


async def test_an_unexpected_failure_names_the_request_in_reply_and_log(
    client: Client, resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        seen.append(request_id())
        raise RuntimeError("broken")

    seen: list[str | None] = []
    monkeypatch.setattr(type(resources.collections), "list", broken)
    reply = await client.get("/v1/collections", headers={"X-Request-Id": "mine"})
    assert reply.status_code == 500
    assert seen == ["mine"]
    assert reply.json()["next"].endswith("the id of the request, mine")
    assert "broken" not in reply.text
    assert "broken" in caplog.text


async def test_requests_are_counted_by_route_and_status(
    application: Litestar, client: Client, garden: str
) -> None:
    labels = {"method": "GET", "route": "/v1/collections/{name}"}
    for name in (garden, garden, "absent"):
        await client.get(f"/v1/collections/{name}")
    assert value_of(application, "footnote_http_requests_total", **labels, status="200") == 2
    assert value_of(application, "footnote_http_requests_total", **labels, status="404") == 1
    assert value_of(application, "footnote_http_request_seconds_count", **labels) == 3
    assert value_of(application, "footnote_http_requests_in_flight") == 0


async def test_strange_methods_and_paths_make_no_series_of_their_own(
    application: Litestar, client: Client
) -> None:
    for number in range(5):
        await client.request(f"STRANGE{number}", f"/nowhere/{number}")
    labels = {"method": "OTHER", "route": "unmatched", "status": "404"}
    assert value_of(application, "footnote_http_requests_total", **labels) == 5


async def test_a_search_tells_its_stages(application: Litestar, post: Post, garden: str) -> None:
    assert (await post("search", query="When do I plant tomatoes?")).status_code == 200
    for name in ("encode", "rank", "dense", "lexical", "fuse", "hydrate"):
        assert value_of(application, "footnote_stage_seconds_count", stage=name) >= 1, name
    assert value_of(application, "footnote_stage_seconds_count", stage="decode") == 0


async def test_a_write_tells_its_stages(application: Litestar, garden: str) -> None:
    for name in ("chunk", "encode_passages", "commit"):
        assert value_of(application, "footnote_stage_seconds_count", stage=name) >= 1, name


async def test_an_answer_is_counted_with_its_tokens(application: Litestar, post: Post, garden: str) -> None:
    reply = await post("answer", question="When do I plant tomatoes?")
    assert reply.json()["status"] == "answered"
    assert value_of(application, "footnote_answers_total", status="answered") == 1
    assert value_of(application, "footnote_stage_seconds_count", stage="decode") == 1
    prompt = value_of(application, "footnote_decoder_tokens_total", kind="prompt")
    written = value_of(application, "footnote_decoder_tokens_total", kind="completion")
    assert (prompt, written) == (10, 3)  # what the decoder of these tests tells


async def test_a_streamed_answer_is_counted_once_and_to_its_end(
    application: Litestar, post: Post, admin: Client, garden: str
) -> None:
    admin.headers["Accept"] = "text/event-stream"
    reply = await post("answer", question="When do I plant tomatoes?")
    assert "event: final_answer" in reply.text
    assert value_of(application, "footnote_answers_total", status="answered") == 1
    assert value_of(application, "footnote_http_requests_in_flight") == 0
