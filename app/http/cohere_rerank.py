"""Cohere's /v1/rerank and /v2/rerank.

Source: docs.cohere.com/v2/reference/rerank.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET

from app.http.access import NO_COLLECTIONS
from app.http.disconnect import while_connected
from app.http.embedding_input import read_texts
from app.http.foreign_errors import cohere_responses
from app.http.openai_models import resolve
from app.http.rerank_schemas import (
    CohereMeta,
    CohereRerankReply,
    CohereRerankRequest,
    CohereResult,
    CohereVersion,
    TextDocument,
)
from app.resources import Resources
from app.services.reranking import MAX_TEXTS, Relevance, best_first
from app.services.types import Scope
from embeddings.errors import InvalidInput

ALIAS = "reranker"
_MAX_TOKENS_PER_DOC = 4096
_FAILURES = (400, 404, 413, 415, 429)


class CohereRerankController(Controller):
    """Relevance for clients that speak Cohere's API."""

    path = "/"
    tags = ("Rerank",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @post(
        "/v2/rerank",
        scope=Scope.READ,
        status_code=200,
        summary="Rank texts",
        responses=cohere_responses(*_FAILURES),
    )
    async def rerank(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[CohereRerankRequest],
        resources: NamedDependency[Resources],
    ) -> CohereRerankReply:
        """Texts in the order of their relevance for a query, as Cohere's version 2 tells it.

        With no reranker installed the encoder scores by cosine, and `meta.scorer` says so.
        """
        return await _rerank(request, data, resources, "2")

    @post(
        "/v1/rerank",
        scope=Scope.READ,
        status_code=200,
        summary="Rank texts, version 1",
        responses=cohere_responses(*_FAILURES),
    )
    async def rerank_as_version_1(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[CohereRerankRequest],
        resources: NamedDependency[Resources],
    ) -> CohereRerankReply:
        """The same as version 1, whose clients may ask for the texts back."""
        return await _rerank(request, data, resources, "1")


async def _rerank(
    request: Request[Any, Any, Any], asked: CohereRerankRequest, resources: Resources, version: str
) -> CohereRerankReply:
    reranking = resources.reranking
    if asked.model not in (None, ALIAS):
        resolve(asked.model, [reranking.model_id])
    (query,) = read_texts("query", asked.query)
    texts = read_texts("documents", list(map(_text_of, asked.documents)), MAX_TEXTS)
    most = _at_least_1("max_tokens_per_doc", asked.max_tokens_per_doc, _MAX_TOKENS_PER_DOC)
    wanted = _at_least_1("top_n", asked.top_n, len(texts))
    work = reranking.relevance(query, texts, max_tokens_per_text=most)
    relevance = await while_connected(request, work)
    return CohereRerankReply(
        id=str(uuid.uuid4()),
        model=relevance.model,
        results=_results(relevance, texts, asked.return_documents)[:wanted],
        meta=CohereMeta(CohereVersion(version), relevance.scorer, relevance.model),
    )


def _results(relevance: Relevance, texts: Sequence[str], with_texts: bool) -> list[CohereResult]:
    return [
        CohereResult(index, relevance.scores[index], TextDocument(texts[index]) if with_texts else UNSET)
        for index in best_first(relevance)
    ]


def _text_of(document: str | dict[str, Any]) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise InvalidInput(
            "documents holds an object without `text`",
            field="documents",
            found=", ".join(map(str, document)) or "{}",
            expected="a text, or an object with `text`",
        )
    return text


def _at_least_1(field: str, given: int | None, default: int) -> int:
    if given is not None and given < 1:
        raise InvalidInput(
            f"{field} is {given}; it must be at least 1", field=field, found=str(given), expected="at least 1"
        )
    return default if given is None else given
