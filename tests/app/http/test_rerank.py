"""Reranking over HTTP: in searches and answers, and in the forms of Cohere and TEI."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from httpx import AsyncClient as Client

from app.resources import Models, Resources, open_resources
from app.settings import Settings
from tests.app.http.conftest import application_of, assert_problem, connect
from tests.app.word_reranker import WordReranker

QUERY = "plant tomatoes in May"
TEXTS = ["Snow is cold.", "Plant tomatoes in the middle of May.", "Помидоры сажают в мае.", "Tomatoes."]


@pytest.fixture
async def reranking(settings: Settings, models: Models) -> AsyncIterator[Resources]:
    async with open_resources(settings, replace(models, reranker=WordReranker())) as opened:
        yield opened


@pytest.fixture
async def reranker(reranking: Resources) -> AsyncIterator[Client]:
    """A client of a service with a reranker, whose collection `notes` holds the texts."""
    application = application_of(reranking)
    async with connect(application) as opened:
        await application.state.opening.wait_until_ready()
        key = await reranking.keys.create("test", ["admin"])  # type: ignore[list-item]
        opened.headers["Authorization"] = f"Bearer {key.token}"
        await opened.post("/v1/collections", json={"name": "notes"})
        documents = [{"id": str(place), "text": text} for place, text in enumerate(TEXTS)]
        reply = await opened.post("/v1/collections/notes/documents", json={"documents": documents})
        assert [item["status"] for item in reply.json()["items"]] == ["created"] * len(TEXTS)
        yield opened


async def test_search_puts_its_hits_into_the_rerankers_order(reranker: Client) -> None:
    body = {"query": QUERY, "rerank": True, "explain": True, "mode": "dense"}
    hits = (await reranker.post("/v1/collections/notes/search", json=body)).json()["hits"]
    assert [hit["document_id"] for hit in hits[:2]] == ["1", "3"]
    assert [hit["score"] for hit in hits] == [hit["explain"]["rerank_score"] for hit in hits]
    assert hits[0]["score"] == pytest.approx(0.9526, abs=1e-3)
    assert {hit["document_id"] for hit in hits} == {"0", "1", "2", "3"}


async def test_limit_and_offset_choose_among_the_reranked_hits(reranker: Client) -> None:
    body = {"query": QUERY, "rerank": True, "mode": "dense", "limit": 1, "offset": 1}
    hits = (await reranker.post("/v1/collections/notes/search", json=body)).json()["hits"]
    assert [hit["document_id"] for hit in hits] == ["3"]


async def test_only_the_candidates_are_scored(reranker: Client, reranking: Resources) -> None:
    body = {"query": QUERY, "rerank": True, "mode": "dense", "limit": 1, "rerank_candidates": 2}
    reply = await reranker.post("/v1/collections/notes/search", json=body)
    assert len(reply.json()["hits"]) == 1
    assert reranking.models.reranker.asked == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("candidates", [0, 1001])
async def test_a_number_of_candidates_out_of_range_is_refused(reranker: Client, candidates: int) -> None:
    body = {"query": QUERY, "rerank": True, "rerank_candidates": candidates}
    reply = await reranker.post("/v1/collections/notes/search", json=body)
    assert_problem(reply, 422, "rerank_candidates")


async def test_an_answers_passages_are_chosen_by_the_reranker(reranker: Client) -> None:
    body = {"question": QUERY, "rerank": True, "passages": 1, "mode": "dense"}
    reply = (await reranker.post("/v1/collections/notes/answer", json=body)).json()
    assert [hit["document_id"] for hit in reply["hits"]] == ["1"]


async def test_without_a_reranker_a_search_tells_how_to_get_one(client: Client, garden: str) -> None:
    reply = await client.post(f"/v1/collections/{garden}/search", json={"query": QUERY, "rerank": True})
    assert "FOOTNOTE_RERANKER" in assert_problem(reply, 422, "rerank")["next"]


@pytest.mark.parametrize("version", ["1", "2"])
async def test_cohere_form(reranker: Client, version: str) -> None:
    body = {"model": "reranker", "query": QUERY, "documents": [*TEXTS[:3], {"text": TEXTS[3]}], "top_n": 2}
    reply = (await reranker.post(f"/v{version}/rerank", json=body)).json()
    assert [result["index"] for result in reply["results"]] == [1, 3]
    assert reply["results"][0].keys() == {"index", "relevance_score"}
    assert reply["id"]
    assert reply["meta"] == {"api_version": {"version": version}, "scorer": "reranker", "model": "words@1"}


async def test_cohere_form_gives_documents_back_and_cuts_them(reranker: Client) -> None:
    body = {"query": QUERY, "documents": ["cold snow, then plant tomatoes", "tomatoes"]}
    cut = await reranker.post("/v1/rerank", json=body | {"max_tokens_per_doc": 2, "return_documents": True})
    assert [result["document"]["text"] for result in cut.json()["results"]] == body["documents"][::-1]
    whole = await reranker.post("/v1/rerank", json=body)
    assert [result["index"] for result in whole.json()["results"]] == [0, 1]


async def test_without_a_reranker_the_encoder_scores_and_says_so(client: Client) -> None:
    body = {"query": QUERY, "documents": TEXTS}
    reply = (await client.post("/v2/rerank", json=body)).json()
    assert reply["results"][0]["index"] in {1, 3}
    assert all(0 <= result["relevance_score"] <= 1 for result in reply["results"])
    assert (reply["model"], reply["meta"]["scorer"]) == ("hashing@1", "encoder")
    ranks = await client.post("/rerank", json={"query": QUERY, "texts": TEXTS})
    assert ranks.headers["x-footnote-scorer"] == "encoder"
    assert ranks.json()[0]["score"] == pytest.approx(reply["results"][0]["relevance_score"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"documents": []}, 400),
        ({"documents": ["a"] * 1001}, 400),
        ({"documents": [{"title": "no text"}]}, 400),
        ({"top_n": 0}, 400),
        ({"query": " "}, 400),
        ({"model": "rerank-v3.5"}, 404),
        ({"unknown": 1}, 400),
    ],
)
async def test_cohere_failures_are_messages(reranker: Client, change: dict[str, object], status: int) -> None:
    reply = await reranker.post("/v2/rerank", json={"query": QUERY, "documents": TEXTS} | change)
    assert reply.status_code == status
    assert reply.json().keys() == {"message"}


async def test_tei_form(reranker: Client) -> None:
    body = {"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True}
    reply = await reranker.post("/rerank", json=body)
    assert reply.json()[0] == {"index": 1, "score": 3.0, "text": TEXTS[1]}
    assert reply.headers["x-footnote-model"] == "words@1"
    assert [rank["score"] for rank in reply.json()] == [3.0, 0.0, -1.0, -1.0]


async def test_tei_form_refuses_a_text_that_is_too_long_unless_it_may_be_cut(reranker: Client) -> None:
    body = {"query": QUERY, "texts": ["short", "long " * 50]}
    refused = await reranker.post("/rerank", json=body)
    assert (refused.status_code, refused.json()["error_type"]) == (413, "Validation")
    assert "texts[1]" in refused.json()["error"]
    assert (await reranker.post("/rerank", json=body | {"truncate": True})).status_code == 200


async def test_tei_form_refuses_no_texts(reranker: Client) -> None:
    refused = await reranker.post("/rerank", json={"query": QUERY, "texts": []})
    assert (refused.status_code, refused.json()["error_type"]) == (400, "Empty")
