"""Failures on the paths of other servers' clients: both forms, and every status that they can get."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from httpx import Response
from litestar import Litestar

from app.asgi import create_app
from app.resources import Resources
from app.services.types import Scope
from embeddings.errors import FootnoteError, ModelDamaged, Overloaded
from tests.app.http.conftest import Client, Keys, application_of, connect
from tests.app.http.embedding_clients import serve

BODIES: dict[str, Any] = {
    "/v1/embeddings": {"input": "frost", "model": "hashing"},
    "/embed": {"inputs": "frost"},
    "/similarity": {"inputs": {"source_sentence": "frost", "sentences": ["snow"]}},
}
OPENAI, TEI = "/v1/embeddings", "/embed"


class FailingEncoding:
    """Fails as it is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def embed(self, texts: Any, **_: Any) -> NoReturn:
        raise self.error


class WaitingEncoding:
    """Never answers, and knows when it is asked and when it may stop."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def embed(self, texts: Any, **_: Any) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def with_encoding(resources: Resources, encoding: Any) -> Litestar:
    encoders: Any = SimpleNamespace(default=SimpleNamespace(encoding=encoding))
    return application_of(replace(resources, encoders=encoders))


@asynccontextmanager
async def ready(application: Litestar, base_url: str = "http://127.0.0.1:8000") -> AsyncIterator[Client]:
    async with connect(application, base_url) as client:
        await application.state.opening.wait_until_ready()
        yield client


def told(reply: Response) -> tuple[int, str, str | None]:
    """Status, kind and code; None where the form has no code. The reply is in one of the two forms."""
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    if isinstance(body["error"], str):
        assert set(body) == {"error", "error_type"}
        return reply.status_code, body["error_type"], None
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return reply.status_code, body["error"]["type"], body["error"]["code"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/embeddings", (405, "invalid_request_error", "method_not_supported")),
        ("DELETE", "/v1/models/hashing", (405, "invalid_request_error", "method_not_supported")),
        ("POST", "/v1/embeddings/more", (404, "invalid_request_error", "unknown_url")),
        ("GET", "/embed", (405, "Validation", None)),
        ("PUT", "/info", (405, "Validation", None)),
    ],
)
async def test_wrong_route_is_refused_in_the_form_of_its_clients(
    method: str, path: str, expected: Any, client: Client
) -> None:
    assert told(await client.request(method, path)) == expected


@pytest.mark.parametrize("body", [b'{"input": ', b"\xff", b"", b"[" * 5000])
async def test_broken_body_is_refused(body: bytes, client: Client) -> None:
    headers = {"Content-Type": "application/json"}
    status, kind, _ = told(await client.post(OPENAI, content=body, headers=headers))
    assert (status, kind) == (400, "invalid_request_error")
    status, kind, _ = told(await client.post(TEI, content=body, headers=headers))
    assert (status in {400, 422}, kind) == (True, "Validation")


async def test_body_of_another_type_is_refused(client: Client) -> None:
    headers = {"Content-Type": "text/plain"}
    assert told(await client.post(OPENAI, content="{}", headers=headers))[:2] == (
        415,
        "invalid_request_error",
    )
    assert told(await client.post(TEI, content="{}", headers=headers))[:2] == (415, "Validation")


async def test_body_above_the_limit_is_refused(resources: Resources) -> None:
    application = application_of(resources, replace(resources.settings, max_request_bytes=100))
    async with ready(application) as client:
        long = "a" * 200
        openai = await client.post(OPENAI, json={"input": long, "model": "hashing"})
        assert told(openai) == (413, "invalid_request_error", "too_large")
        assert told(await client.post(TEI, json={"inputs": long})) == (413, "Validation", None)


async def test_unknown_query_parameter_is_refused(client: Client) -> None:
    reply = await client.post(f"{OPENAI}?dimensions=64", json=BODIES[OPENAI])
    assert told(reply)[0] == 400
    assert reply.json()["error"]["param"] == "dimensions"


@pytest.mark.parametrize("path", [*BODIES, "/v1/models", "/v1/models/hashing", "/info"])
async def test_reading_outside_loopback_needs_a_key_with_the_scope(
    path: str, resources: Resources, keys: Keys
) -> None:
    application = application_of(resources, replace(resources.settings, host="0.0.0.0"))  # noqa: S104
    method, body = ("POST", BODIES[path]) if path in BODIES else ("GET", None)
    async with ready(application, "http://search.example") as client:
        missing = await client.request(method, path, json=body)
        unknown = await client.request(method, path, json=body, headers={"Authorization": "Bearer sk-1"})
        allowed = await client.request(method, path, json=body, headers=keys[Scope.READ])
        assert (await client.get("/health")).status_code == 200
    code = "invalid_api_key" if path.startswith("/v1") else None
    assert [told(reply)[::2] for reply in (missing, unknown)] == [(401, code)] * 2
    assert missing.headers["www-authenticate"] == "Bearer"
    assert allowed.status_code == 200


@pytest.mark.parametrize("path", BODIES)
async def test_foreign_name_for_this_machine_is_refused(path: str, client: Client) -> None:
    reply = await client.post(path, json=BODIES[path], headers={"Host": "evil.example"})
    assert told(reply)[0] == 403


@pytest.mark.parametrize("path", BODIES)
async def test_full_queue_says_when_to_come_back(path: str, resources: Resources) -> None:
    busy = Overloaded("the queue is full", retry_after_s=3)
    async with ready(with_encoding(resources, FailingEncoding(busy))) as client:
        reply = await client.post(path, json=BODIES[path])
    openai = (429, "rate_limit_error", "rate_limit_exceeded")
    assert told(reply) == (openai if path == OPENAI else (429, "Overloaded", None))
    assert reply.headers["retry-after"] == "3"


@pytest.mark.parametrize("error", [ModelDamaged("the weights are gone"), ZeroDivisionError("secret")])
async def test_failure_inside_is_the_servers_and_leaks_nothing(
    error: Exception, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with ready(with_encoding(resources, FailingEncoding(error))) as client:
            openai = await client.post(OPENAI, json=BODIES[OPENAI])
            tei = await client.post(TEI, json=BODIES[TEI])
    assert told(openai)[:2] == (500, "server_error")
    assert told(tei) == (424, "Backend", None)
    assert "secret" not in openai.text + tei.text
    assert len(caplog.records) == 2


async def test_service_that_is_not_open_yet_says_so(resources: Resources) -> None:
    @asynccontextmanager
    async def never() -> AsyncIterator[Resources]:
        raise FootnoteError("no")
        yield resources

    async with connect(create_app(resources.settings, never, lambda _: None)) as client:
        openai = await client.post(OPENAI, json=BODIES[OPENAI])
        tei = await client.post(TEI, json=BODIES[TEI])
        health = await client.get("/health")
    assert told(openai)[:2] == (503, "server_error")
    assert told(tei) == told(health) == (503, "Unhealthy", None)
    assert {reply.headers["retry-after"] for reply in (openai, tei, health)} == {"1"}


@pytest.mark.parametrize("path", BODIES)
async def test_work_ends_when_its_client_leaves(path: str, resources: Resources) -> None:
    encoding = WaitingEncoding()
    async with serve(with_encoding(resources, encoding)) as address, Client() as client:
        asking = asyncio.create_task(client.post(address + path, json=BODIES[path]))
        await encoding.started.wait()
        asking.cancel()
        await asyncio.wait_for(encoding.cancelled.wait(), 10)
