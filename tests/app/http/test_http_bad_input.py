from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import Response

from app.resources import Resources
from app.settings import Settings
from tests.app.http.conftest import Client, assert_problem

Post = Callable[..., Awaitable[Response]]
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("search", {}, "query"),
        ("search", {"query": ""}, "query"),
        ("search", {"query": " \n "}, "query"),
        ("search", {"query": 7}, "query"),
        ("search", {"query": "tomatoes", "limt": 3}, "limt"),
        ("search", {"query": "tomatoes", "limit": 0}, "limit"),
        ("search", {"query": "tomatoes", "limit": 1_000_000}, "limit"),
        ("search", {"query": "tomatoes", "limit": "3"}, "limit"),
        ("search", {"query": "tomatoes", "limit": 2.5}, "limit"),
        ("search", {"query": "tomatoes", "limit": True}, "limit"),
        ("search", {"query": "tomatoes", "offset": -1}, "offset"),
        ("search", {"query": "tomatoes", "diversity": 1.5}, "diversity"),
        ("search", {"query": "tomatoes", "min_score": "high"}, "min_score"),
        ("search", {"query": "tomatoes", "merge_neighbours": 1}, "merge_neighbours"),
        ("search", {"query": "tomatoes", "fusion": {"method": "sum"}}, "fusion.method"),
        ("search", {"query": "tomatoes", "fusion": {"k": 0}}, "fusion.k"),
        ("search", {"query": "tomatoes", "fusion": {"kk": 1}}, "fusion.kk"),
        ("search", {"query": "tomatoes", "mode": "magic"}, "mode"),
        ("search", {"query": "tomatoes", "filter": {"bed": {"$near": 1}}}, "filter.bed.$near"),
        ("search", {"query": "tomatoes", "filter": [1]}, "filter"),
        ("search", {"query": "t" * 5000}, "query"),
        ("answer", {"question": ""}, "question"),
        ("answer", {"question": "When?", "passages": 0}, "passages"),
        ("answer", {"question": "When?", "temperature": -1}, "temperature"),
        ("answer", {"question": "When?", "top_p": 0}, "top_p"),
        ("answer", {"question": "When?", "stop": "May"}, "stop"),
        ("documents", {"documents": []}, "documents"),
        ("documents", {"documents": [{"text": "a", "id": 5}]}, "documents[0].id"),
        ("documents", {"documents": [{"text": "a"}, {"txt": "b"}]}, "documents[1].txt"),
        ("documents", {"documents": [{"id": "x"}]}, "documents[0].text"),
        ("delete", {}, "ids"),
        ("delete", {"ids": ["a"], "filter": {"bed": 1}}, "ids"),
        ("delete", {"filter": {}}, "filter"),
    ],
)
async def test_wrong_value_is_named(
    path: str, body: dict[str, Any], field: str, garden: str, post: Post
) -> None:
    assert_problem(await post(path, **body), 422, field)


async def test_filter_on_a_field_that_no_document_has_is_refused_with_the_known_ones(
    garden: str, post: Post
) -> None:
    reply = await post("search", query="tomatoes", filter={"$not": {"shelf": {"$gt": 1}}})
    problem = assert_problem(reply, 422, "filter.shelf")
    assert problem["expected"].startswith("one of ")


async def test_exists_may_ask_for_any_field(garden: str, post: Post) -> None:
    reply = await post("search", query="tomatoes", filter={"shelf": {"$exists": True}})
    assert (reply.status_code, reply.json()["hits"]) == (200, [])


async def test_expected_lists_the_known_fields(garden: str, post: Post) -> None:
    problem = assert_problem(await post("search", query="tomatoes", limt=3), 422, "limt")
    assert problem["expected"] == (
        "one of query, mode, limit, offset, filter, explain, fusion, diversity, min_score, merge_neighbours, "
        "rerank, rerank_candidates"
    )


@pytest.mark.parametrize("path", ["search", "answer", "documents", "delete"])
@pytest.mark.parametrize(
    ("body", "headers", "status", "field"),
    [
        (b"", JSON, 400, "body"),
        (b"{", JSON, 400, "body"),
        (b'{"query": "\xff"}', JSON, 400, "body"),
        (b'{"query": "\\ud800"}', JSON, 400, "body"),
        (b"[" * 100_000, JSON, 422, "body"),
        (b"null", JSON, 422, "body"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "Content-Type"),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Content-Type"),
    ],
)
async def test_body_that_cannot_be_read_is_refused(
    path: str, body: bytes, headers: dict[str, str], status: int, field: str, garden: str, admin: Client
) -> None:
    reply = await admin.post(f"/v1/collections/{garden}/{path}", content=body, headers=headers)
    assert_problem(reply, status, field)


async def test_deep_nesting_inside_a_filter_is_refused(garden: str, admin: Client) -> None:
    deep = b'{"query": "a", "filter": ' + b'{"$not": ' * 50_000 + b"{}" + b"}" * 50_001
    assert_problem(await admin.post("/v1/collections/garden/search", content=deep, headers=JSON), 422, "body")


@pytest.mark.parametrize("method", ["get", "delete"])
async def test_unknown_collection_is_named(method: str, admin: Client) -> None:
    assert_problem(await admin.request(method, "/v1/collections/nowhere"), 404, "collection")


@pytest.mark.parametrize("path", ["search", "answer", "documents", "delete"])
async def test_unknown_collection_is_named_by_every_post(path: str, admin: Client) -> None:
    bodies = {
        "search": {"query": "a"}, "answer": {"question": "a"}, "documents": {"documents": [{"text": "a"}]},
        "delete": {"ids": ["a"]},
    }  # fmt: skip
    assert_problem(await admin.post(f"/v1/collections/nowhere/{path}", json=bodies[path]), 404, "collection")


@pytest.mark.parametrize("query", ["limit=0", "limit=abc", "limit=1000000"])
async def test_wrong_parameter_is_named(query: str, garden: str, admin: Client) -> None:
    assert_problem(await admin.get(f"/v1/collections/garden/documents?{query}"), 422, "limit")


async def test_unknown_parameter_is_named(garden: str, admin: Client) -> None:
    problem = assert_problem(await admin.get("/v1/collections/garden/documents?limt=3"), 422, "limt")
    assert problem["expected"] == "one of limit, after"


@pytest.mark.parametrize("query", ["start=-1", "start=10000", "end=10000"])
async def test_range_outside_the_text_is_named(query: str, garden: str, admin: Client) -> None:
    reply = await admin.get(f"/v1/collections/garden/text/beds/tomatoes?{query}")
    assert_problem(reply, 422, query.partition("=")[0])


async def test_duplicated_ids_fail_and_nothing_of_them_is_written(
    garden: str, admin: Client, post: Post
) -> None:
    twins = [{"id": "twin", "text": "one"}, {"id": "twin", "text": "two"}, {"id": "single", "text": "three"}]
    reply = (await post("documents", documents=twins)).json()
    assert reply["errors"] is True
    assert [item["status"] for item in reply["items"]] == ["error", "error", "created"]
    assert all(item["code"] and item["field"] and item["expected"] for item in reply["items"][:2])
    assert (await admin.get("/v1/collections/garden/documents/twin")).status_code == 404


async def test_text_above_the_limit_fails_alone(garden: str, post: Post) -> None:
    batch = [{"id": "huge", "text": "a" * 10_000_000}, {"id": "fine", "text": "b"}]
    items = (await post("documents", documents=batch)).json()["items"]
    assert (items[0]["status"], items[0]["code"], items[0]["field"]) == ("error", "too_large", "text")
    assert items[0]["found"] == "10000000 bytes"
    assert items[1]["status"] == "created"


async def test_batch_with_a_wrong_type_writes_nothing(garden: str, admin: Client, post: Post) -> None:
    batch = [{"id": "fine", "text": "b"}, {"id": "wrong", "text": ["c"]}]
    assert_problem(await post("documents", documents=batch), 422, "documents[1].text")
    assert (await admin.get("/v1/collections/garden/documents/fine")).status_code == 404


@pytest.mark.parametrize(
    ("files", "data", "field"),
    [
        ([("upload", ("a.txt", b"a"))], {}, "upload"),
        ([("file", ("a.txt", b"a"))], {"colour": "red"}, "colour"),
        ([("file", ("a.txt", b"a"))], {"metadata": "{"}, "metadata"),
        ([("file", ("a.txt", b"a"))], {"metadata": "[1]"}, "metadata"),
        ([("other", (None, b"a"))], {}, "other"),
    ],
)
async def test_wrong_form_is_named(
    files: list[tuple[str, tuple[str | None, bytes]]],
    data: dict[str, str],
    field: str,
    garden: str,
    admin: Client,
) -> None:
    assert_problem(await admin.post("/v1/collections/garden/files", files=files, data=data), 422, field)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"no parts", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n", "multipart/form-data", 400),
    ],
)
async def test_form_that_cannot_be_read_is_refused(
    body: bytes, content_type: str, status: int, garden: str, admin: Client
) -> None:
    reply = await admin.post(
        "/v1/collections/garden/files", content=body, headers={"Content-Type": content_type}
    )
    assert_problem(reply, status, reply.json().get("field"))


async def test_unknown_route_and_method_are_problems(client: Client) -> None:
    assert assert_problem(await client.get("/v1/nothing"), 404)["found"] == "GET /v1/nothing"
    problem = assert_problem(await client.put("/v1/collections", json={}), 405)
    assert "GET" in problem["expected"]
    assert "POST" in problem["expected"]


async def test_taken_name_is_a_conflict(garden: str, admin: Client) -> None:
    assert_problem(await admin.post("/v1/collections", json={"name": "garden"}), 409, "name")


@pytest.mark.parametrize("name", ["", "Garden", "a/b", "-a", "x" * 65])
async def test_name_that_is_not_allowed_is_refused(name: str, admin: Client) -> None:
    assert_problem(await admin.post("/v1/collections", json={"name": name}), 422, "name")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The request limit is small enough to be crossed, and large enough for a text of 10 MB."""
    return replace(settings, max_request_bytes=12_000_000)


async def test_request_above_the_limit_is_refused(garden: str, admin: Client, resources: Resources) -> None:
    reply = await admin.post("/v1/collections/garden/documents", content=b"a" * 12_000_001, headers=JSON)
    problem = assert_problem(reply, 413, "body")
    assert problem["expected"] == "at most 12000000 bytes"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/admin/collections/garden/releases/{}/promote"),
        ("GET", "/v1/admin/collections/garden/releases/{}"),
        ("DELETE", "/v1/admin/collections/garden/golden-queries/{}"),
        ("DELETE", "/v1/admin/collections/garden/feedback/{}"),
        ("GET", "/v1/collections/garden/text/beds/tomatoes?version={}"),
        ("GET", "/v1/admin/collections/garden/feedback?after={}"),
    ],
)
async def test_number_that_no_database_holds_is_refused(
    admin: Client, garden: str, method: str, path: str
) -> None:
    reply = await admin.request(method, path.format(2**63))
    assert reply.status_code in (404, 422), reply.text
    assert reply.json()["detail"]
