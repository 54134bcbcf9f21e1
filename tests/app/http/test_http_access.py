import re
from dataclasses import replace

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from app.resources import Resources
from app.security import is_loopback
from app.services.types import Scope
from tests.app.http.conftest import Client, Keys, application_of, assert_problem, connect

# What a reader may send with another method than GET: questions, texts to work on, his own conversations.
READS = {
    "/v1/collections/{name}/search", "/v1/collections/{name}/answer",
    "/v1/embeddings", "/embed", "/similarity", "/", "/v1/rerank", "/v2/rerank", "/rerank",
    "/v1/chat/completions", "/v1/completions", "/v1/classify", "/v1/similarity",
    "/playground/runs",
    "/v1/collections/{name}/conversations", "/v1/collections/{name}/conversations/{conversation_id}",
}  # fmt: skip
# What everybody may send: these change a cookie and nothing else.
FOR_VISITORS = {"/login", "/logout", "/preferences"}


def routes_of(application: Litestar) -> list[tuple[str, str, HTTPRouteHandler]]:
    """Method, path and handler of every route."""
    return [
        (method, route.path_format, handler)
        for route in application.routes
        for handler in getattr(route, "route_handlers", [])
        if isinstance(handler, HTTPRouteHandler)
        for method in sorted(handler.http_methods)
        if method != "OPTIONS"
    ]


async def test_every_write_route_needs_a_scope_beyond_read(
    application: Litestar, client: Client, keys: Keys
) -> None:
    writes = [
        (method, path)
        for method, path, _ in routes_of(application)
        if method not in {"GET", "HEAD"} and path not in READS | FOR_VISITORS
    ]
    assert len(writes) >= 38
    for method, path in writes:
        url = path.replace("{name}", "garden").replace("{document_id}", "a")
        url = re.sub(r"\{\w+\}", "1", url)
        reply = await client.request(method, url)
        assert (path, reply.status_code) == (path, 401)
        reply = await client.request(method, url, headers=keys[Scope.READ])
        assert (path, reply.status_code) == (path, 403)


async def test_a_refusal_of_the_api_names_the_header(client: Client, keys: Keys) -> None:
    assert_problem(await client.post("/v1/collections"), 401, "Authorization")
    assert_problem(await client.post("/v1/collections", headers=keys[Scope.READ]), 403, "Authorization")


@pytest.mark.parametrize("method", ["post", "patch", "delete"])
async def test_collections_are_for_administrators(method: str, client: Client, keys: Keys) -> None:
    path = "/v1/collections" if method == "post" else "/v1/collections/garden"
    problem = assert_problem(
        await client.request(method, path, headers=keys[Scope.WRITE]), 403, "Authorization"
    )
    assert problem["expected"] == "admin"


async def test_write_key_adds_documents(garden: str, client: Client, keys: Keys) -> None:
    del client.headers["authorization"]
    body = {"documents": [{"text": "a"}]}
    reply = await client.post("/v1/collections/garden/documents", json=body, headers=keys[Scope.WRITE])
    assert reply.status_code == 200


@pytest.mark.parametrize("header", ["Bearer fn_unknown", "Bearer ", "Basic YTpi", "fn_unknown"])
async def test_unknown_key_is_refused(header: str, client: Client) -> None:
    reply = await client.post("/v1/collections", json={"name": "a"}, headers={"Authorization": header})
    assert_problem(reply, 401, "Authorization")
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_revoked_key_is_refused_at_once(client: Client, resources: Resources) -> None:
    key = await resources.keys.create("short", [Scope.ADMIN])
    headers = {"Authorization": f"Bearer {key.token}"}
    assert (await client.post("/v1/collections", json={"name": "a"}, headers=headers)).status_code == 201
    await resources.keys.revoke(key.info.id)
    assert_problem(
        await client.post("/v1/collections", json={"name": "b"}, headers=headers), 401, "Authorization"
    )


async def test_reading_on_loopback_needs_no_key(garden: str, client: Client) -> None:
    del client.headers["authorization"]
    assert (await client.get("/v1/collections")).status_code == 200
    reply = await client.post("/v1/collections/garden/search", json={"query": "tomatoes"})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1", ""]
)
async def test_foreign_name_for_this_machine_is_refused(host: str, client: Client) -> None:
    reply = await client.get("/v1/collections", headers={"Host": host})
    assert reply.status_code in {400, 403}
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
async def test_names_of_this_machine_are_answered(host: str, client: Client) -> None:
    assert (await client.get("/v1/collections", headers={"Host": host})).status_code == 200


async def test_reading_outside_loopback_needs_a_key(resources: Resources, keys: Keys) -> None:
    application = application_of(resources, replace(resources.settings, host="0.0.0.0"))  # noqa: S104
    async with connect(application, "http://search.example") as client:
        await application.state.opening.wait_until_ready()
        for path in ["/v1/collections", "/v1/collections/a/documents"]:
            assert_problem(await client.get(path), 401, "Authorization")
        search = await client.post("/v1/collections/a/search", json={"query": "a"})
        assert_problem(search, 401, "Authorization")
        assert (await client.get("/v1/collections", headers=keys[Scope.READ])).status_code == 200
        assert (await client.get("/")).status_code == 401
        for path in ["/login", "/health/live", "/health/ready", "/schema", "/web/page.css"]:
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
        ("::", False), ("192.168.1.5", False), ("example.org", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_page_of_another_origin_gets_no_permission(client: Client) -> None:
    reply = await client.options(
        "/v1/collections/garden/search",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in reply.headers
