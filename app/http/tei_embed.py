"""Text Embeddings Inference's /embed and /similarity.

Source: huggingface/text-embeddings-inference 1.9, router/src/http/server.rs.
"""

from collections.abc import Callable, Coroutine, Sequence
from itertools import groupby
from typing import Any

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from app.http.access import NO_COLLECTIONS
from app.http.disconnect import while_connected
from app.http.embedding_input import MAX_INPUTS, ContextLengthExceeded, read_texts
from app.http.embedding_json import encode_array, tokens_read
from app.http.foreign_errors import tei_responses
from app.http.tei_schemas import EmbedRequest, SimilarityParameters, SimilarityRequest
from app.resources import Resources
from app.services.encoding import EmbeddedTexts
from app.services.types import Scope
from embeddings.errors import TextTooLong

TRUNCATED = "x-footnote-truncated"
TOKENS = "x-compute-tokens"


class TEIController(Controller):
    """Vectors for clients that speak the API of Text Embeddings Inference."""

    path = "/"
    tags = ("Text Embeddings Inference",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @post(
        "/embed",
        scope=Scope.READ,
        status_code=200,
        summary="Embed texts",
        responses={
            200: ResponseSpec(list[list[float]], generate_examples=False, description="The vectors"),
            **tei_responses(400, 413, 415, 422, 424, 429),
        },
    )
    async def embed(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[EmbedRequest],
        resources: NamedDependency[Resources],
    ) -> Response[Any]:
        """Vectors of texts, in their order.

        A text is never cut unless `truncate` asks for it; the header `x-footnote-truncated` then has the
        places of the texts that were cut, such as `0,3-5`.
        """
        return await _embed(request, data, resources)

    @post("/", scope=Scope.READ, status_code=200, include_in_schema=False)
    async def embed_at_root(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[EmbedRequest],
        resources: NamedDependency[Resources],
    ) -> Response[Any]:
        """The same where Hugging Face's InferenceClient and LangChain look for it."""
        return await _embed(request, data, resources)

    @post(
        "/similarity",
        scope=Scope.READ,
        status_code=200,
        summary="Compare texts",
        responses={
            200: ResponseSpec(list[float], generate_examples=False, description="The cosines, -1 to 1"),
            **tei_responses(400, 413, 415, 422, 424, 429),
        },
    )
    async def compare(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[SimilarityRequest],
        resources: NamedDependency[Resources],
    ) -> Response[list[float]]:
        """Cosine of the source sentence and each of the others.

        The places in `x-footnote-truncated` count the source sentence as 0 and the others from 1.
        """
        asked = data.parameters or SimilarityParameters()
        source = read_texts("inputs.source_sentence", data.inputs.source_sentence)
        others = read_texts("inputs.sentences", [*data.inputs.sentences], MAX_INPUTS - 1)
        work = _work(resources, source + others, asked)
        embedded = await _finish(request, work, _similarity_field)
        cosines = (embedded.vectors[1:] @ embedded.vectors[0]).clip(-1, 1)
        return Response(cosines.tolist(), headers=_headers(embedded, resources))


async def _embed(request: Request[Any, Any, Any], asked: EmbedRequest, resources: Resources) -> Response[Any]:
    texts = read_texts("inputs", asked.inputs)
    work = _work(resources, texts, asked, dimensions=asked.dimensions, normalize=asked.normalize)
    is_single = isinstance(asked.inputs, str)
    embedded = await _finish(request, work, lambda index: "inputs" if is_single else f"inputs[{index}]")
    vectors = embedded.vectors
    body = await encode_array(len(vectors), lambda part: vectors[part].tolist())
    return Response(bytes(body), media_type=MediaType.JSON, headers=_headers(embedded, resources))


def _work(
    resources: Resources, texts: list[str], asked: EmbedRequest | SimilarityParameters, **form: Any
) -> Coroutine[Any, Any, EmbeddedTexts]:
    return resources.encoding.embed(
        texts,
        prompt=asked.prompt_name or "",
        truncate=bool(asked.truncate),
        keep="end" if asked.truncation_direction.lower() == "left" else "start",
        **form,
    )


async def _finish(
    request: Request[Any, Any, Any], work: Coroutine[Any, Any, EmbeddedTexts], field_of: Callable[[int], str]
) -> EmbeddedTexts:
    try:
        return await while_connected(request, work)
    except TextTooLong as error:
        field = field_of(error.index)
        raise ContextLengthExceeded(
            f"`{field}` must have at most {error.max_tokens} tokens. Given: {error.tokens}",
            field=field,
            found=error.found,
            expected=f"at most {error.max_tokens} tokens",
            next_step="shorten it, or have it cut with truncate",
        ) from error


def _similarity_field(index: int) -> str:
    return f"inputs.sentences[{index - 1}]" if index else "inputs.source_sentence"


def _headers(embedded: EmbeddedTexts, resources: Resources) -> dict[str, str]:
    headers = {TOKENS: str(tokens_read(embedded, resources.models.encoder.max_tokens))}
    cut = [index for index, truncated in enumerate(embedded.truncated) if truncated]
    return headers | {TRUNCATED: write_ranges(cut)} if cut else headers


def write_ranges(ascending: Sequence[int]) -> str:
    """Numbers as `0,3-5`: 2,048 of them one by one would break the header limit of some clients."""
    written = []
    for _, run in groupby(enumerate(ascending), lambda numbered: numbered[1] - numbered[0]):
        numbers = [number for _, number in run]
        written.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(written)
