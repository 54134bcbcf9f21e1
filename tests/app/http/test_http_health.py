import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.asgi import create_app
from app.resources import Resources
from embeddings.errors import ModelDamaged
from tests.app.http.conftest import assert_problem, connect


async def test_live_at_once_and_ready_when_the_resources_are_open(resources: Resources) -> None:
    may_open = asyncio.Event()

    @asynccontextmanager
    async def slow_opener() -> AsyncIterator[Resources]:
        await may_open.wait()
        yield resources

    application = create_app(resources.settings, slow_opener)
    async with connect(application) as client:
        assert (await client.get("/health/live")).json() == {"status": "live"}
        waiting = await client.get("/health/ready")
        assert_problem(waiting, 503)
        assert waiting.headers["retry-after"] == "1"
        assert_problem(await client.get("/v1/collections"), 503)
        may_open.set()
        await application.state.opening.wait_until_ready()
        assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_failure_to_open_is_handed_to_the_server(resources: Resources) -> None:
    failures: list[Exception] = []

    @asynccontextmanager
    async def broken_opener() -> AsyncIterator[Resources]:
        raise ModelDamaged("the weights are damaged")
        yield resources

    application = create_app(resources.settings, broken_opener, failures.append)
    async with connect(application) as client:
        assert_problem(await client.get("/health/ready"), 503)
    assert [str(failure) for failure in failures] == ["the weights are damaged"]
