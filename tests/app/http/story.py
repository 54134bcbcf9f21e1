"""The examples of the API's description, lived through one after the other.

To record the replies anew, with the bundled models: python -m tests.app.http.story
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from httpx import AsyncClient, Response
from litestar.openapi.spec import OpenAPI

from app.asgi import create_app
from app.http.openapi_examples import EVENT_STREAM, STORY, Step, read_story, resolve
from app.resources import open_resources
from app.services.types import Scope
from app.settings import Settings
from tests.app.http.conftest import application_of, connect

MOST_NUMBERS = 3  # of a vector that is shown
MOST_LINES = 12  # of a text
Replies = dict[str, Any]


def routes(schema: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Method and path of each operation by its id."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    }


async def live_through(
    client: AsyncClient, schema: Mapping[str, Any]
) -> AsyncIterator[tuple[Step, Response]]:
    """Send every step that can be sent; yield it with what came back."""
    replies: Replies = {}
    places = routes(schema)
    for step in read_story():
        if step.shown_only is None:
            reply = await send(client, *places[step.operation], step, replies)
            replies[step.operation] = body_of(reply)
            yield step, reply


async def send(client: AsyncClient, method: str, path: str, step: Step, replies: Replies) -> Response:
    parameters = resolve(dict(step.path), replies)
    options: dict[str, Any] = {}
    if step.files:
        options = {
            "files": [("file", (name, text.encode())) for name, text in step.files.items()],
            "data": step.form,
        }
    elif step.request is not msgspec.UNSET:
        options = {"json": resolve(step.request, replies)}
    url = path.format(**parameters)
    headers = {"Accept": EVENT_STREAM if url.endswith("/events") else "application/json"}
    return await client.request(method, url, params=step.query, headers=headers, timeout=60, **options)


def body_of(reply: Response) -> Any:
    """JSON as what it holds, everything else as text, nothing as None."""
    if not reply.content:
        return None
    is_json = reply.headers["content-type"].startswith("application/json")
    return reply.json() if is_json else reply.text


def shortened(value: Any) -> Any:
    """A reply as it is shown: of a vector the first numbers, and no more digits than one reads."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        vector = len(value) > MOST_NUMBERS and all(isinstance(each, float) for each in value)
        return [shortened(each) for each in (value[:MOST_NUMBERS] if vector else value)]
    if isinstance(value, str):
        return "\n".join(value.split("\n")[:MOST_LINES])
    return round(value, 4) if isinstance(value, float) else value


def write_down(step: Step, reply: Response) -> Step:
    """The step with what came back."""
    body = body_of(reply)
    return step if body is None else msgspec.structs.replace(step, reply=shortened(body))


async def record(home: Path) -> None:
    """Live through the story on the service with the bundled models, and write the replies down."""
    # Without the examples: a step that was just added has none yet.
    schema = OpenAPI.to_schema(create_app(Settings()).openapi_schema)
    async with open_resources(Settings(home=home)) as resources:
        key = await resources.keys.create("story", [Scope.ADMIN])
        async with connect(application_of(resources)) as client:
            client.headers["Authorization"] = f"Bearer {key.token}"
            lived = {
                step.operation: write_down(step, reply) async for step, reply in live_through(client, schema)
            }
    steps = [lived.get(step.operation, step) for step in read_story()]
    rows = [json.dumps(msgspec.to_builtins(step), ensure_ascii=False) for step in steps]
    STORY.write_text("[\n " + ",\n ".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(record(Path(folder) / "home"))
