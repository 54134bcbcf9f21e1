import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import uvicorn

from app.client import AsyncFootnote, Footnote
from app.resources import Models, Resources
from app.services.types import Scope
from generation.answering import Answerer
from tests.app.http.conftest import application_of
from tests.app.http.span_reader import SpanReader

TOMATOES = "Tomatoes like the sun. Plant tomatoes in the middle of May, after the last frost."
SNOW = "Убирайте снег с грядок весной."


@pytest.fixture
def models(models: Models) -> Models:
    """The models of the other tests, with a decoder that knows one answer."""
    return replace(models, answerer=Answerer(SpanReader("in the middle of May"), refuse_below=0.5))


@pytest.fixture
async def url(resources: Resources) -> AsyncIterator[str]:
    """The address of the service on a port of its own, as its clients find it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application_of(resources), log_config=None, access_log=False)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


@pytest.fixture
async def key(resources: Resources) -> str:
    """A key that may do everything."""
    return (await resources.keys.create("test", [Scope.ADMIN])).token


@pytest.fixture
async def waiting(url: str, key: str) -> AsyncIterator[Footnote]:
    """The client that waits; its methods are called in another thread, for the service has this one."""
    with Footnote(url, key) as client:
        yield client


@pytest.fixture
async def footnote(url: str, key: str) -> AsyncIterator[AsyncFootnote]:
    """The client that is awaited, as an administrator, and the collection `garden` with two documents."""
    async with AsyncFootnote(url, key) as client:
        await client.create_collection("garden")
        beds = {"id": "beds/tomatoes", "text": TOMATOES, "title": "Tomatoes", "metadata": {"bed": 1}}
        snow = {"id": "снег", "text": SNOW, "metadata": {"bed": 2}}
        batch = await client.add_documents("garden", [beds, snow])
        assert not batch.errors
        yield client
