"""OpenAI's embeddings route."""

from typing import Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from app.http.access import NO_COLLECTIONS
from app.http.disconnect import while_connected
from app.http.embedding_input import ContextLengthExceeded, read_texts
from app.http.embedding_json import encode_array, tokens_read
from app.http.foreign_errors import openai_responses
from app.http.openai_models import resolve
from app.http.openai_schemas import (
    EmbeddingItem,
    EmbeddingReply,
    EmbeddingRequest,
    EmbeddingUsage,
    EncodedReply,
)
from app.resources import Resources
from app.services.encoding import EmbeddedTexts
from app.services.types import Scope
from embeddings.errors import TextTooLong


class EmbeddingController(Controller):
    """Vectors for clients that speak OpenAI's API."""

    path = "/embeddings"
    tags = ("OpenAI",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @post(
        "/",
        scope=Scope.READ,
        status_code=200,
        summary="Embed texts",
        responses={
            200: ResponseSpec(EmbeddingReply, generate_examples=False, description="The vectors"),
            **openai_responses(400, 404, 413, 415, 429),
        },
    )
    async def create_embeddings(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[EmbeddingRequest],
        resources: NamedDependency[Resources],
    ) -> Response[Any]:
        """Unit vectors of texts, in their order. A text is never cut unless `truncate` asks for it."""
        texts = read_texts("input", data.input)
        model = resolve(data.model, [resources.models.encoder.model_id])
        work = resources.encoding.embed(
            texts,
            prompt=data.input_type or "",
            truncate=data.truncate != "none",
            keep=data.keep,
            dimensions=data.dimensions,
        )
        try:
            embedded = await while_connected(request, work)
        except TextTooLong as error:
            raise _context_length_exceeded(error, data) from error
        reply = await _reply(embedded, data, model, resources.models.encoder.max_tokens)
        return Response(msgspec.json.encode(reply), media_type=MediaType.JSON)


async def _reply(
    embedded: EmbeddedTexts, asked: EmbeddingRequest, model: str, max_tokens: int
) -> EncodedReply:
    vectors = embedded.vectors.astype("<f4", copy=False)

    def items(part: slice) -> list[EmbeddingItem]:
        rows: list[Any] = (
            [row.tobytes() for row in vectors[part]]  # msgspec writes bytes as base64
            if asked.encoding_format == "base64"
            else vectors[part].tolist()
        )
        return [EmbeddingItem("embedding", row, part.start + place) for place, row in enumerate(rows)]

    data = await encode_array(len(vectors), items)
    tokens = tokens_read(embedded, max_tokens)
    cut = [index for index, truncated in enumerate(embedded.truncated) if truncated]
    return EncodedReply(
        "list",
        data,
        model,
        EmbeddingUsage(tokens, tokens),
        msgspec.UNSET if asked.truncate == "none" else cut,
    )


def _context_length_exceeded(error: TextTooLong, asked: EmbeddingRequest) -> ContextLengthExceeded:
    field = "input" if isinstance(asked.input, str) else f"input[{error.index}]"
    return ContextLengthExceeded(
        f"This model's maximum context length is {error.max_tokens} tokens, however you requested "
        f"{error.tokens} tokens in {field}",
        field=field,
        found=error.found,
        expected=f"{error.max_tokens} tokens",
        next_step='please reduce its length, or have it cut with "truncate": "end" or "start"',
    )
