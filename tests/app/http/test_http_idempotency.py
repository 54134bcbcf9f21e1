import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import AsyncClient as Client
from httpx import Response
from sqlalchemy import update

from app.db.idempotency import Answer, KeyedRequest, find_answer, keep_answer
from app.db.models import IdempotencyKey
from app.resources import Models, Resources, open_resources
from app.services.types import Scope
from app.settings import Settings
from embeddings.errors import Conflict
from tests.app.hashing_encoder import HashingEncoder
from tests.app.http.conftest import Keys, application_of, assert_problem, connect

KEY = {"Idempotency-Key": "8e03978e-40d5"}
DOCUMENTS = {"documents": [{"id": "a", "text": "The first note."}, {"id": "b", "text": "  "}]}


async def add(client: Client, body: dict[str, Any] = DOCUMENTS, **headers: str) -> Response:
    return await client.post("/v1/collections/garden/documents", json=body, headers={**KEY, **headers})


def assert_replayed(again: Response, first: Response) -> None:
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("content-type") == first.headers.get("content-type")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


async def test_repeated_add_gets_the_first_answer(admin: Client, garden: str) -> None:
    first = await add(admin)
    assert [result["status"] for result in first.json()["items"]] == ["created", "error"]
    assert_replayed(await add(admin), first)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/collections", {"name": "new"}),
        ("PATCH", "/v1/collections/garden", {"settings": {"refusal_threshold": 0.5}}),
        ("DELETE", "/v1/collections/garden", None),
        ("DELETE", "/v1/collections/garden/documents/beds/tomatoes", None),
        ("POST", "/v1/collections/garden/delete", {"filter": {"bed": 1}}),
    ],
)
async def test_repeated_write_gets_the_first_answer(
    admin: Client,
    garden: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    first = await admin.request(method, path, json=body, headers=KEY)
    assert first.is_success
    assert_replayed(await admin.request(method, path, json=body, headers=KEY), first)


async def test_repeated_upload_is_the_same_request_under_another_boundary(admin: Client, garden: str) -> None:
    async def upload() -> Response:
        files = {"file": ("note.txt", b"A note about leeks.", "text/plain")}
        return await admin.post("/v1/collections/garden/files", files=files, headers=KEY)

    first = await upload()
    assert first.json()["items"][0]["status"] == "created"
    assert_replayed(await upload(), first)


async def test_repetition_changes_nothing_that_was_written_since(admin: Client, garden: str) -> None:
    first = await add(admin)
    await admin.delete("/v1/collections/garden/documents/a")
    assert_replayed(await add(admin), first)
    assert (await admin.get("/v1/collections/garden/documents/a")).status_code == 404


async def test_key_of_another_request_is_refused(admin: Client, garden: str) -> None:
    await add(admin)
    reply = await add(admin, {"documents": [{"id": "c", "text": "Another note."}]})
    assert_problem(reply, 422, "Idempotency-Key")
    assert (await admin.get("/v1/collections/garden/documents/c")).status_code == 404


async def test_key_holds_for_one_client_and_one_route(
    admin: Client,
    garden: str,
    resources: Resources,
) -> None:
    await add(admin)
    other = await resources.keys.create("other", [Scope.ADMIN])
    reply = await add(admin, {"documents": DOCUMENTS["documents"][:1]}, Authorization=f"Bearer {other.token}")
    assert [result["status"] for result in reply.json()["items"]] == ["unchanged"]
    created = await admin.post("/v1/collections", json={"name": "new"}, headers=KEY)
    assert created.status_code == 201


async def test_failed_write_may_be_sent_again_under_its_key(admin: Client) -> None:
    assert_problem(await add(admin), 404, "collection")
    await admin.post("/v1/collections", json={"name": "garden"})
    assert (await add(admin)).json()["items"][0]["status"] == "created"


@pytest.mark.parametrize("key", [b"", b"with space", "ключ".encode(), b"x" * 256])
async def test_bad_key_is_refused(admin: Client, garden: str, key: bytes) -> None:
    reply = await admin.post(
        "/v1/collections/garden/documents", json=DOCUMENTS, headers={b"Idempotency-Key": key}
    )
    assert_problem(reply, 422, "Idempotency-Key")


async def test_same_key_at_the_same_time_is_written_once(
    admin: Client,
    garden: str,
    encoder: HashingEncoder,
) -> None:
    encoder.encoded = []
    replies = await asyncio.gather(*(add(admin) for _ in range(5)))
    assert sorted({reply.status_code for reply in replies}) in ([200], [200, 409])
    done = [reply for reply in replies if reply.status_code == 200]
    assert len({reply.content for reply in done}) == 1
    assert [r for r in done if "Idempotent-Replayed" not in r.headers] == done[:1]
    assert len(encoder.encoded) == 1
    for refused in replies:
        if refused.status_code == 409:
            assert_problem(refused, 409, "Idempotency-Key")


async def test_answer_outlives_the_process(
    admin: Client,
    garden: str,
    settings: Settings,
    models: Models,
) -> None:
    first = await add(admin)
    async with open_resources(settings, models) as reopened, connect(application_of(reopened)) as client:
        client.headers.update(admin.headers)
        assert_replayed(await add(client), first)


@pytest.fixture
async def request_kept(resources: Resources) -> KeyedRequest:
    request = KeyedRequest("1 POST /v1/collections", "key", "0" * 64)
    async with resources.database.write() as connection:
        await keep_answer(connection, request, Answer(201, b"{}"))
    return request


async def test_answer_of_another_process_undoes_the_write(
    resources: Resources, request_kept: KeyedRequest
) -> None:
    with pytest.raises(Conflict):
        async with resources.database.write() as connection:
            await keep_answer(connection, request_kept, Answer(201, b"[]"))


async def test_answer_is_forgotten_after_a_day(resources: Resources, request_kept: KeyedRequest) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=25)
    async with resources.database.write() as connection:
        assert await find_answer(connection, request_kept) is not None
        await connection.execute(update(IdempotencyKey).values(created_at=long_ago))
        assert await find_answer(connection, request_kept) is None
        await keep_answer(connection, request_kept, Answer(201, b"[]"))


async def test_repetition_needs_the_key_of_its_route(client: Client, garden: str, keys: Keys) -> None:
    client.headers.pop("Authorization", None)
    assert_problem(await add(client), 401, "Authorization")
