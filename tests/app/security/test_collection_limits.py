"""Keys that are limited to some collections."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from litestar import Litestar

from app.http.access import FILTERED, NO_COLLECTIONS, required_scope
from app.resources import Resources
from app.services.types import DocumentInput, Scope
from tests.app.http.conftest import Client, assert_problem
from tests.app.http.test_http_access import routes_of

Limited = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
def limited(resources: Resources) -> Limited:
    """Makes the header of a key that sees the collection `garden` alone."""

    async def make(scope: Scope = Scope.ADMIN, collections: tuple[str, ...] = ("garden",)) -> dict[str, str]:
        key = await resources.keys.create("robot", [scope], collections)
        return {"Authorization": f"Bearer {key.token}"}

    return make


@pytest.fixture
async def secret(garden: str, resources: Resources) -> str:
    """The name of a collection beside `garden`."""
    return (await resources.collections.create("secret")).name


async def test_other_collection_answers_as_one_that_is_not_there(
    application: Litestar, secret: str, client: Client, limited: Limited
) -> None:
    """Every route with a collection in its path, to the letter."""
    headers = await limited()
    tried = 0
    for method, path, handler in routes_of(application):
        if "{name}" in path and required_scope(handler, method) is not None:
            url = re.sub(r"\{(?!name)\w+\}", "1", path)
            there, missing = [
                await client.request(method, url.replace("{name}", name), headers=headers)
                for name in (secret, "nosuch")
            ]
            assert there.status_code == missing.status_code == 404, (method, path)
            assert there.text.replace(secret, "nosuch") == missing.text, (method, path)
            tried += 1
    assert tried >= 40


async def test_own_collection_is_open(secret: str, client: Client, limited: Limited) -> None:
    headers = await limited()
    path = "/v1/collections/garden"
    assert (await client.get(path, headers=headers)).status_code == 200
    found = await client.post(path + "/search", json={"query": "tomatoes"}, headers=headers)
    assert found.status_code == 200
    added = await client.post(path + "/documents", json={"documents": [{"text": "a"}]}, headers=headers)
    assert added.status_code == 200
    assert (await client.get("/v1/admin/collections/garden/releases", headers=headers)).status_code == 200


async def test_limit_does_not_widen_the_scope(secret: str, client: Client, limited: Limited) -> None:
    headers = await limited(Scope.READ)
    assert_problem(await client.delete("/v1/collections/garden", headers=headers), 403, "Authorization")


@pytest.mark.parametrize(
    "name", ["Garden", "garden%20", "garden%00", "%67arden%2f..%2fsecret", "garden%2F..%2Fsecret"]
)
async def test_no_spelling_reaches_another_collection(
    name: str, secret: str, client: Client, limited: Limited
) -> None:
    reply = await client.get(f"/v1/collections/{name}/documents", headers=await limited())
    assert reply.status_code in {400, 404, 405}


async def test_route_about_all_collections_says_what_it_does_with_limits(application: Litestar) -> None:
    """A new route that forgets to is closed to limited keys; this list is short and looked at."""
    closed = {
        (method, path)
        for method, path, handler in routes_of(application)
        if "{name}" not in path
        and required_scope(handler, method) is not None
        and handler.opt.get("collections") not in {FILTERED, NO_COLLECTIONS}
    }
    assert closed <= {
        ("POST", "/v1/collections"),
        ("POST", "/v1/snapshots"),
        ("POST", "/collections"),
        ("GET", "/metrics"),
        ("GET", "/v1/admin/stats"),
    }


@pytest.mark.parametrize("path", ["/v1/collections", "/v1/snapshots"])
async def test_limited_administrator_makes_no_collection_and_no_snapshot(
    path: str, secret: str, client: Client, limited: Limited, resources: Resources
) -> None:
    reply = await client.post(path, json={"name": "more"}, headers=await limited())
    assert_problem(reply, 403, "Authorization")
    assert len(await resources.collections.list()) == 2


async def test_lists_leave_other_collections_out(secret: str, client: Client, limited: Limited) -> None:
    headers = await limited(Scope.READ)
    assert _names(await _json(client, "/v1/collections", headers)) == ["garden"]
    models = [model["id"] for model in (await _json(client, "/v1/models", headers))["data"]]
    assert "footnote:garden" in models
    assert "footnote:secret" not in models
    for page in ("/collections", "/", "/models", "/playground", "/jobs", "/v1/admin/stats", "/metrics"):
        shown = await client.get(page, headers=headers)
        assert shown.status_code in {200, 403}, page
        assert "secret" not in shown.text, page


async def test_page_asks_no_other_collection(
    secret: str, client: Client, limited: Limited, resources: Resources
) -> None:
    await resources.documents.add(secret, [DocumentInput("The password is swordfish.", "vault")])
    headers = await limited(Scope.READ)
    question = {"c": secret, "q": "What is the password?"}
    for path, more in (("/", {}), ("/", {"plain": "1"}), ("/ask", {}), ("/ask", {"w": "search"})):
        for htmx in ({}, {"HX-Request": "true"}):
            reply = await client.get(path, params=question | more, headers=headers | htmx)
            assert "swordfish" not in reply.text, (path, more)
            assert "vault" not in reply.text, (path, more)


async def test_chat_does_not_answer_from_another_collection(
    secret: str, client: Client, limited: Limited
) -> None:
    headers = await limited(Scope.READ)
    message = [{"role": "user", "content": "When do I plant tomatoes?"}]

    async def ask(**asked: Any) -> Any:
        return await client.post("/v1/chat/completions", json={"messages": message, **asked}, headers=headers)

    assert (await ask(model="footnote:garden")).status_code == 200
    hidden, missing = await ask(model="footnote:secret"), await ask(model="footnote:nosuch")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("secret", "nosuch") == missing.text
    by_field = await ask(model="span", collection="secret")
    assert by_field.status_code == 404
    shown = await client.get("/v1/models/footnote:secret", headers=headers)
    assert shown.status_code == 404
    assert "garden" in shown.text


async def test_jobs_of_other_collections_do_not_exist(
    secret: str, client: Client, limited: Limited, resources: Resources
) -> None:
    own = await resources.jobs.submit("reindex", "garden")
    other = await resources.jobs.submit("reindex", secret)
    general = await resources.jobs.submit("snapshot")
    headers = await limited(Scope.WRITE)
    assert [job["id"] for job in (await _json(client, "/v1/jobs", headers))["jobs"]] == [own.id]
    asked = await _json(client, f"/v1/jobs?collection={secret}", headers)
    assert asked["jobs"] == []
    for job in (other, general):
        for method, action in [("GET", ""), ("GET", "/items"), ("GET", "/events"), ("POST", "/cancel"),
                               ("POST", "/resume"), ("POST", "/retry")]:  # fmt: skip
            for root in ("/v1/jobs", "/jobs"):
                if root == "/jobs" and action in {"/items", "/events"}:
                    continue
                reply = await client.request(method, f"{root}/{job.id}{action}", headers=headers)
                assert reply.status_code == 404, (root, action)
    assert (await client.get(f"/v1/jobs/{own.id}", headers=headers)).status_code == 200
    assert (await resources.jobs.get(other.id)).state == "queued"


async def test_job_of_another_collection_is_no_training_of_ours(
    secret: str, client: Client, limited: Limited, resources: Resources
) -> None:
    other = await resources.jobs.submit("train", secret)
    path = f"/v1/admin/collections/garden/train/{other.id}/report"
    reply = await client.get(path, headers=await limited())
    assert reply.status_code == 404
    assert "secret" not in reply.text


async def test_same_idempotency_key_of_two_callers_is_two_writes(
    secret: str, client: Client, limited: Limited
) -> None:
    """Nobody reads the answer that another caller got."""
    body, once = {"documents": [{"id": "x", "text": "a"}]}, {"Idempotency-Key": "one"}
    path = "/v1/collections/garden/documents"
    first = await client.post(path, json=body, headers=await limited() | once)
    second = await client.post(path, json=body, headers=await limited() | once)
    assert first.json()["items"][0]["status"] == "created"
    assert second.json()["items"][0]["status"] == "unchanged"
    assert "idempotent-replayed" not in second.headers


async def test_limited_key_on_loopback_is_limited_though_no_key_would_read_all(
    secret: str, client: Client, limited: Limited
) -> None:
    """A key says who calls; a program that is given one gets what it may see, wherever it runs."""
    reply = await client.get(f"/v1/collections/{secret}", headers=await limited(Scope.READ))
    assert reply.status_code == 404


async def test_some_word_in_place_of_a_key_reads_on_loopback(garden: str, client: Client) -> None:
    """Clients of OpenAI's API cannot leave it out."""
    reply = await client.get("/v1/models", headers={"Authorization": "Bearer none"})
    assert reply.status_code == 200


async def _json(client: Client, path: str, headers: dict[str, str]) -> Any:
    reply = await client.get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


def _names(listed: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in listed["collections"]]
