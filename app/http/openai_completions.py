"""OpenAI's older route: a text that the decoder continues."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from app.http.access import NO_COLLECTIONS
from app.http.disconnect import while_connected
from app.http.embedding_input import read_texts
from app.http.event_stream import StreamedOperation
from app.http.foreign_errors import openai_responses
from app.http.openai_chat_replies import ReplyHead, gather
from app.http.openai_chat_sampling import in_wire_names, read_format, read_sampling
from app.http.openai_chat_stream import open_openai_stream
from app.http.openai_completion_replies import CompletionChunks, completion_reply
from app.http.openai_completion_schemas import CompletionReply, CompletionRequest
from app.http.openai_models import COLLECTION_PREFIX, resolve_chat_model
from app.overload import Load
from app.resources import Resources
from app.services.types import Scope
from embeddings.errors import InvalidInput

MAX_PROMPTS = 32
DEFAULT_MAX_TOKENS = 16  # OpenAI's


class CompletionController(Controller):
    """Continuations for clients that speak OpenAI's API."""

    path = "/completions"
    tags = ("OpenAI",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @post(
        "/",
        scope=Scope.READ,
        load=Load.ANSWER,
        status_code=200,
        summary="Continue texts",
        operation_class=StreamedOperation,
        responses={
            200: ResponseSpec(CompletionReply, generate_examples=False, description="The reply"),
            **openai_responses(400, 404, 413, 415, 429, 502),
        },
    )
    async def create_completion(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[CompletionRequest],
        resources: NamedDependency[Resources],
    ) -> Response[Any]:
        """Continue texts as they stand, without a chat template.

        With `stream` the reply is a stream of chunks that ends with `[DONE]`; a comment comes at least every
        10 seconds. Closing the connection stops the work.
        """
        _refuse_features(data)
        prompts = read_texts("prompt", data.prompt, MAX_PROMPTS)
        with in_wire_names({}):
            tokens = DEFAULT_MAX_TOKENS if data.max_tokens is None else data.max_tokens
            sampling = read_sampling(data, tokens, data.logprobs, resources.chat.defaults)
            head = ReplyHead(resolve_chat_model(data.model, resources))
            events = resources.chat.complete(prompts, sampling, read_format(data))
            if data.stream:
                chunks = CompletionChunks(head, data.include_usage)
                return await while_connected(request, open_openai_stream(events, chunks.of))
            gathered = await while_connected(request, gather(events))
        return Response(completion_reply(gathered, head, data.logprobs is not None))


def _refuse_features(asked: CompletionRequest) -> None:
    """Raise InvalidInput for what is not served here."""
    for field in ("echo", "suffix"):
        if getattr(asked, field):
            raise InvalidInput(
                f"{field} is not served here",
                field=field,
                found=field,
                expected="a request without it",
                next_step="leave it out",
            )
    if asked.model.startswith(COLLECTION_PREFIX):
        raise InvalidInput(
            "a collection answers questions; it does not continue texts",
            field="model",
            found=asked.model[:200],
            expected="the id of a decoder that chats",
            next_step="ask it at /v1/chat/completions",
        )
