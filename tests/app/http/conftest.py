import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from httpx import ASGITransport, Response
from httpx import AsyncClient as Client
from litestar import Litestar

from app.asgi import create_app
from app.resources import Models, Resources
from app.services.types import Scope
from app.settings import Settings
from generation.answering import Answerer
from tests.app.http.span_reader import SpanReader

LOOPBACK = "http://127.0.0.1:8000"
TOMATOES = "Tomatoes like the sun. Plant tomatoes in the middle of May, after the last frost."

Keys = dict[Scope, dict[str, str]]


@pytest.fixture
def reader() -> SpanReader:
    """A decoder that knows one answer."""
    return SpanReader("in the middle of May")


@pytest.fixture
def models(models: Models, reader: SpanReader) -> Models:
    """The models of the other tests, with the decoder that knows one answer."""
    return replace(models, answerer=Answerer(reader, refuse_below=0.5))


@pytest.fixture
def application(resources: Resources) -> Litestar:
    return application_of(resources)


@pytest.fixture
async def client(application: Litestar) -> AsyncIterator[Client]:
    """A client on this machine, without a key."""
    async with connect(application) as opened:
        await application.state.opening.wait_until_ready()
        yield opened


@pytest.fixture
async def keys(resources: Resources) -> Keys:
    """The header of a key for each scope."""
    made = {scope: await resources.keys.create(scope, [scope]) for scope in Scope}
    return {scope: {"Authorization": f"Bearer {key.token}"} for scope, key in made.items()}


@pytest.fixture
async def admin(client: Client, keys: Keys) -> Client:
    """The client with an administrator's key."""
    client.headers.update(keys[Scope.ADMIN])
    return client


@pytest.fixture
def post(admin: Client) -> Callable[..., Awaitable[Response]]:
    """POST to the collection `garden`."""

    async def send(path: str, **body: Any) -> Response:
        return await admin.post(f"/v1/collections/garden/{path}", json=body)

    return send


@pytest.fixture
async def garden(admin: Client) -> str:
    """The name of a collection that holds one document about tomatoes and one about snow."""
    await admin.post("/v1/collections", json={"name": "garden"})
    tomatoes = {"id": "beds/tomatoes", "text": TOMATOES, "title": "Tomatoes", "metadata": {"bed": 1}}
    snow = {"id": "снег", "text": "Убирайте снег с грядок весной.", "metadata": {"bed": 2}}
    reply = await admin.post("/v1/collections/garden/documents", json={"documents": [tomatoes, snow]})
    assert [item["status"] for item in reply.json()["items"]] == ["created", "created"]
    return "garden"


@asynccontextmanager
async def connect(application: Litestar, base_url: str = LOOPBACK) -> AsyncIterator[Client]:
    """Start the application and a client in this event loop; Litestar's own client takes another one."""
    transport = ASGITransport(application, raise_app_exceptions=False)
    async with running(application), Client(transport=transport, base_url=base_url) as client:
        yield client


@asynccontextmanager
async def running(application: Litestar) -> AsyncIterator[None]:
    """Start and stop the application in one task, as its cancel scopes need and fixtures do not give."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with application.lifespan():
            started.set()
            await stop.wait()

    task = asyncio.create_task(run())
    await started.wait()
    try:
        yield
    finally:
        stop.set()
        await task


def application_of(resources: Resources, settings: Settings | None = None) -> Litestar:
    """The application on resources that a test has opened."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[Resources]:
        yield resources

    return create_app(settings or resources.settings, opener)


def assert_problem(reply: Response, status: int, field: str | None = None) -> dict[str, Any]:
    """The reply is a problem that names the field, what was found and what is expected."""
    problem: dict[str, Any] = reply.json()
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), (
        reply.text
    )
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem.get("field") == field
    if field is not None:
        assert problem.get("found")
        assert problem["expected"]
    return problem
