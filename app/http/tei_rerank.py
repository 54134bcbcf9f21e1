"""Text Embeddings Inference's /rerank.

Source: huggingface/text-embeddings-inference 1.9, router/src/http/server.rs.
"""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET

from app.http.access import NO_COLLECTIONS
from app.http.disconnect import while_connected
from app.http.embedding_input import ContextLengthExceeded, read_texts
from app.http.foreign_errors import tei_responses
from app.http.rerank_schemas import TEIRank, TEIRerankRequest
from app.http.tei_embed import TOKENS
from app.resources import Resources
from app.services.reranking import MAX_TEXTS, best_first
from app.services.types import Scope
from embeddings.errors import TextTooLong

SCORER = "x-footnote-scorer"
MODEL = "x-footnote-model"


class TEIRerankController(Controller):
    """Relevance for clients that speak the API of Text Embeddings Inference."""

    path = "/"
    tags = ("Rerank",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @post(
        "/rerank",
        scope=Scope.READ,
        status_code=200,
        summary="Rank texts, as TEI does",
        responses={
            200: ResponseSpec(list[TEIRank], generate_examples=False, description="Ranks, best first"),
            **tei_responses(400, 413, 415, 422, 424, 429),
        },
    )
    async def rank(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[TEIRerankRequest],
        resources: NamedDependency[Resources],
    ) -> Response[list[TEIRank]]:
        """Texts in the order of their relevance for a query.

        The header `x-footnote-scorer` is `encoder` where no reranker is installed: scores are then cosines.
        """
        (query,) = read_texts("query", data.query)
        texts = read_texts("texts", [*data.texts], MAX_TEXTS)
        work = resources.reranking.relevance(query, texts, raw=data.raw_scores, truncate=bool(data.truncate))
        try:
            relevance = await while_connected(request, work)
        except TextTooLong as error:
            raise _context_length_exceeded(error) from error
        ranks = [
            TEIRank(index, relevance.scores[index], texts[index] if data.return_text else UNSET)
            for index in best_first(relevance)
        ]
        told = {SCORER: relevance.scorer, MODEL: relevance.model, TOKENS: str(relevance.tokens)}
        return Response(ranks, headers=told)


def _context_length_exceeded(error: TextTooLong) -> ContextLengthExceeded:
    field = f"texts[{error.index}]"
    return ContextLengthExceeded(
        f"`{field}` must have at most {error.max_tokens} tokens. Given: {error.tokens}",
        field=field,
        found=error.found,
        expected=f"at most {error.max_tokens} tokens",
        next_step="shorten it, or have it cut with truncate",
    )
