from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from httpx import Response

from tests.app.http.conftest import TOMATOES, Client, assert_problem
from tests.app.http.span_reader import SpanReader

Post = Callable[..., Awaitable[Response]]


async def test_collection_is_created_listed_changed_and_deleted(admin: Client) -> None:
    given = {"chunk_max_tokens": 40, "chunk_overlap_tokens": 5}
    created = await admin.post("/v1/collections", json={"name": "notes", "settings": given})
    assert created.status_code == 201
    assert created.json()["settings"] == {
        **given,
        "refusal_threshold": None,
        "fusion": None,
        "prompt": None,
        "keep_conversations": False,
    }
    listed = (await admin.get("/v1/collections")).json()["collections"]
    assert [collection["name"] for collection in listed] == ["notes"]
    changed = await admin.patch("/v1/collections/notes", json={"settings": {"refusal_threshold": 0.7}})
    assert changed.json()["settings"]["refusal_threshold"] == 0.7
    assert changed.json()["settings"]["chunk_max_tokens"] == 40
    assert (await admin.delete("/v1/collections/notes")).status_code == 204
    assert_problem(await admin.get("/v1/collections/notes"), 404, "collection")


async def test_hit_is_the_text_of_its_span(garden: str, post: Post) -> None:
    found = (await post("search", query="when to plant tomatoes")).json()
    hit = found["hits"][0]
    assert (hit["document_id"], hit["version"], hit["title"]) == ("beds/tomatoes", 1, "Tomatoes")
    assert hit["text"] == TOMATOES[hit["start"] : hit["end"]]
    assert found["mode"] == "hybrid"
    assert set(found["fusion"]) == {"method", "dense_weight", "lexical_weight", "reasons"}
    assert "explain" not in hit


async def test_explain_gives_every_score_and_rank(garden: str, post: Post) -> None:
    hit = (await post("search", query="plant tomatoes", explain=True)).json()["hits"][0]
    assert hit["explain"]["dense_rank"] == hit["explain"]["lexical_rank"] == 1
    assert hit["explain"]["lexical_score"] > 0
    assert hit["explain"]["fused_score"] == hit["score"]


async def test_fusion_is_chosen_by_the_search_or_else_by_the_collection(
    garden: str, admin: Client, post: Post
) -> None:
    async def method(**wanted: Any) -> str:
        return str((await post("search", query="plant tomatoes", **wanted)).json()["fusion"]["method"])

    convex = {"method": "convex", "alpha": 0.25, "normalisation": "min_max"}
    changed = await admin.patch("/v1/collections/garden", json={"settings": {"fusion": convex}})
    defaults = {"k": 60, "dense_trust": 1.0, "lexical_trust": 1.0}
    assert changed.json()["settings"]["fusion"] == {**defaults, **convex}
    assert await method() == "convex"
    assert await method(fusion={"method": "rrf", "k": 10}) == "rrf"
    kept = await admin.patch("/v1/collections/garden", json={"settings": {"refusal_threshold": 0.5}})
    assert kept.json()["settings"]["fusion"] == {**defaults, **convex}
    cleared = await admin.patch("/v1/collections/garden", json={"settings": {"fusion": None}})
    assert cleared.json()["settings"]["fusion"] is None
    assert await method() == "evidence"


async def test_least_score_variety_and_merging_are_asked_for(garden: str, post: Post) -> None:
    scores = [hit["score"] for hit in (await post("search", query="plant tomatoes")).json()["hits"]]
    wanted = {"min_score": scores[0], "diversity": 0.5, "merge_neighbours": True}
    (hit,) = (await post("search", query="plant tomatoes", **wanted)).json()["hits"]
    assert hit["score"] == scores[0]
    assert hit["text"] == TOMATOES[hit["start"] : hit["end"]]


async def test_filter_keeps_only_what_it_takes(garden: str, post: Post) -> None:
    found = (await post("search", query="tomatoes", filter={"bed": {"$gte": 2}})).json()
    assert [hit["document_id"] for hit in found["hits"]] == ["снег"]


async def test_deleted_document_is_gone_when_the_delete_answers(
    garden: str, admin: Client, post: Post
) -> None:
    assert (await admin.delete("/v1/collections/garden/documents/beds/tomatoes")).status_code == 204
    found = (await post("search", query="plant tomatoes")).json()
    assert "beds/tomatoes" not in [hit["document_id"] for hit in found["hits"]]
    assert (await admin.get("/v1/collections/garden/text/beds/tomatoes")).status_code == 404


async def test_delete_by_filter_tells_how_many(garden: str, post: Post) -> None:
    assert (await post("delete", filter={"bed": 2})).json() == {"deleted": 1}
    assert (await post("delete", ids=["beds/tomatoes", "unknown"])).json() == {"deleted": 1}


async def test_documents_are_listed_page_by_page(garden: str, admin: Client) -> None:
    first = (await admin.get("/v1/collections/garden/documents?limit=1")).json()
    assert [document["id"] for document in first["documents"]] == ["beds/tomatoes"]
    second = (await admin.get("/v1/collections/garden/documents", params={"after": first["next"]})).json()
    assert [document["id"] for document in second["documents"]] == ["снег"]
    assert second["next"] is None


async def test_text_range_counts_code_points(garden: str, admin: Client) -> None:
    part = (await admin.get("/v1/collections/garden/text/снег?start=9&end=13")).json()
    assert part["text"] == "снег"
    assert (part["version"], part["length"]) == (1, len("Убирайте снег с грядок весной."))


async def test_id_keeps_its_slashes_when_it_is_a_url(garden: str, admin: Client, post: Post) -> None:
    url_id = "https://example.org/a//b/?x=1#y/"
    await post("documents", documents=[{"id": url_id, "text": "A page."}])
    for path in [
        "https%3A%2F%2Fexample.org%2Fa%2F%2Fb%2F%3Fx%3D1%23y%2F",
        "https://example.org/a//b/%3Fx=1%23y/",
    ]:
        assert (await admin.get(f"/v1/collections/garden/documents/{path}")).json()["id"] == url_id


async def test_files_are_added_and_given_back_as_attachments(garden: str, admin: Client) -> None:
    page = b"<html><script>alert(1)</script><body><p>Beans climb.</p></body></html>"
    reply = await admin.post(
        "/v1/collections/garden/files",
        files=[("file", ("beans.html", page, "text/html")), ("file", ("empty.txt", b"", "text/plain"))],
        data={"metadata": '{"bed": 3}'},
    )
    items = reply.json()["items"]
    assert [item["status"] for item in items] == ["created", "error"]
    assert items[1]["code"] in {"unreadable", "invalid_input"}
    assert (await admin.get("/v1/collections/garden/documents/beans.html")).json()["metadata"] == {"bed": 3}
    original = await admin.get("/v1/collections/garden/originals/beans.html")
    assert original.content == page
    assert original.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in original.headers["content-security-policy"]


async def test_answer_cites_the_exact_characters(garden: str, admin: Client, post: Post) -> None:
    answer = (await post("answer", question="When do I plant tomatoes?")).json()
    assert (answer["status"], answer["answer"]) == ("answered", "in the middle of May")
    assert answer["sentences"] == [{"text": "in the middle of May", "supported": True, "citations": [1]}]
    citation = answer["citations"][0]
    query = {key: citation[key] for key in ("version", "start", "end")}
    stored = await admin.get(f"/v1/collections/garden/text/{citation['document_id']}", params=query)
    assert stored.json()["text"] == citation["quote"] == "in the middle of May"
    assert answer["model"] == "span@1"
    assert answer["hits"]


async def test_answer_that_is_not_there_has_no_citations(garden: str, post: Post, reader: SpanReader) -> None:
    reader.span = "in November"
    answer = (await post("answer", question="When do I plant garlic?")).json()
    assert (answer["status"], answer["answer"], answer["citations"]) == ("not_found", None, [])
    assert answer["hits"]


async def test_events_come_in_order_and_end_with_the_json_reply(
    garden: str, admin: Client, post: Post
) -> None:
    question = {"question": "When do I plant tomatoes?"}
    stream = await admin.post(
        "/v1/collections/garden/answer", json=question, headers={"Accept": "text/event-stream"}
    )
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = parse_events(stream.text)
    names = [name for name, _ in events]
    assert names == ["search_results", *["message"] * 5, "citation", "final_answer"]
    assert [data["delta"] for name, data in events if name == "message"] == [
        "in",
        "the",
        "middle",
        "of",
        "May",
    ]
    plain = (await post("answer", **question)).json()
    assert without_time(events[-1][1]) == without_time(plain)


async def test_unknown_collection_is_a_404_and_not_a_stream(admin: Client) -> None:
    reply = await admin.post(
        "/v1/collections/nowhere/answer", json={"question": "Where?"}, headers={"Accept": "text/event-stream"}
    )
    assert_problem(reply, 404, "collection")


def parse_events(stream: str) -> list[tuple[str, Any]]:
    frames = [frame for frame in stream.split("\n\n") if frame.startswith("event: ")]
    lines = [frame.split("\n") for frame in frames]
    return [(name[len("event: ") :], msgspec.json.decode(data[len("data: ") :])) for name, data in lines]


def without_time(reply: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reply.items() if key != "took_ms"}
