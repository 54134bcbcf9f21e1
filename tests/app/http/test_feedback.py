"""Feedback: kept with the document that it is about, listed and removed by administrators."""

from typing import Any

import pytest
from httpx import AsyncClient as Client
from sqlalchemy import func, select

from app.db.models import Feedback
from app.resources import Resources
from app.services.types import DocumentInput, Scope
from tests.app.http.conftest import TOMATOES, Keys, assert_problem

SENT = "/v1/collections/garden/feedback"
KEPT = "/v1/admin/collections/garden/feedback"
GIVEN = {"query": "when to plant tomatoes", "kind": "click", "document_id": "beds/tomatoes"}


async def listed(admin: Client, **parameters: Any) -> list[dict[str, Any]]:
    reply = await admin.get(KEPT, params=parameters)
    found: list[dict[str, Any]] = reply.json()["feedback"]
    return found


async def test_verdict_is_kept_with_version_and_release(admin: Client, garden: str) -> None:
    reply = await admin.post(SENT, json={**GIVEN, "start": 22, "end": 30})
    assert reply.status_code == 201
    kept = reply.json()
    assert {**GIVEN, "start": 22, "end": 30, "version": 1, "release": 1}.items() <= kept.items()
    assert await listed(admin) == [kept]


async def test_same_verdict_is_kept_once_and_another_beside_it(admin: Client, garden: str) -> None:
    for changed in ({}, {}, {"kind": "thumbs_up"}, {"start": 0, "end": 8}, {"query": "tomatoes"}):
        assert (await admin.post(SENT, json={**GIVEN, **changed})).status_code == 201
    assert len(await listed(admin)) == 4
    assert [each["kind"] for each in await listed(admin, kind="thumbs_up")] == ["thumbs_up"]


async def test_verdicts_are_listed_page_by_page_and_removed(admin: Client, garden: str) -> None:
    for query in "abc":
        await admin.post(SENT, json={**GIVEN, "query": query})
    first = (await admin.get(KEPT, params={"limit": 2})).json()
    rest = (await admin.get(KEPT, params={"limit": 2, "after": first["next"]})).json()
    assert [each["query"] for each in first["feedback"] + rest["feedback"]] == ["a", "b", "c"]
    assert rest["next"] is None
    removed = first["feedback"][0]["id"]
    assert (await admin.delete(f"{KEPT}/{removed}")).status_code == 204
    assert [each["query"] for each in await listed(admin)] == ["b", "c"]
    assert (await admin.delete(f"{KEPT}/{removed}")).status_code == 404


async def test_feedback_goes_with_its_document_and_its_collection(
    admin: Client, garden: str, resources: Resources
) -> None:
    await admin.post(SENT, json=GIVEN)
    await admin.post(SENT, json={**GIVEN, "document_id": "снег"})
    await admin.delete("/v1/collections/garden/documents/beds/tomatoes")
    assert [each["document_id"] for each in await listed(admin)] == ["снег"]
    await admin.delete("/v1/collections/garden")
    await resources.reclaimer.finish()
    async with resources.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(Feedback)) == 0


async def test_feedback_on_a_document_that_a_mass_delete_took_away_is_not_told(
    admin: Client, garden: str, resources: Resources
) -> None:
    many = [DocumentInput(f"Bed {number}.", f"bed-{number}") for number in range(300)]
    for first in range(0, 300, 50):
        await resources.documents.add(garden, many[first : first + 50])
    await admin.post(SENT, json={**GIVEN, "document_id": "bed-7"})
    await admin.post("/v1/collections/garden/delete", json={"ids": [each.id for each in many]})
    assert await listed(admin) == []


@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"query": "  "}, 422, "query"),
        ({"query": "a" * 4001}, 413, "query"),
        ({"query": "a\0b"}, 422, "query"),
        ({"kind": "love"}, 422, "kind"),
        ({"document_id": "absent"}, 404, "id"),
        ({"version": 2}, 404, "version"),
        ({"release": 2}, 404, "number"),
        ({"start": 3}, 422, "end"),
        ({"end": 3}, 422, "start"),
        ({"start": 3, "end": 3}, 422, "start"),
        ({"start": 0, "end": len(TOMATOES) + 1}, 422, "start"),
        ({"start": -1, "end": 2}, 422, "start"),
        ({"stars": 5}, 422, "stars"),
    ],
)
async def test_what_cannot_be_kept_is_refused(
    admin: Client, garden: str, changed: dict[str, Any], status: int, field: str
) -> None:
    assert_problem(await admin.post(SENT, json={**GIVEN, **changed}), status, field)
    assert await listed(admin) == []


async def test_sending_needs_a_key_that_writes_and_looking_one_that_administers(
    client: Client, garden: str, keys: Keys
) -> None:
    client.headers.update(keys[Scope.WRITE])
    assert (await client.post(SENT, json=GIVEN)).status_code == 201
    assert (await client.get(KEPT)).status_code == 403
    client.headers.update(keys[Scope.READ])
    assert (await client.post(SENT, json=GIVEN)).status_code == 403
