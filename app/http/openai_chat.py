"""OpenAI's chat route: a conversation with the decoder, or a question to a collection."""

from collections.abc import AsyncGenerator
from typing import Any

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from app.http.access import FILTERED, principal_of
from app.http.disconnect import while_connected
from app.http.event_stream import StreamedOperation
from app.http.foreign_errors import openai_responses
from app.http.openai_chat_collections import collection_named, collection_question
from app.http.openai_chat_messages import read_messages, refuse_features
from app.http.openai_chat_replies import ChatChunks, ReplyHead, chat_reply, gather
from app.http.openai_chat_sampling import in_wire_names, read_format, read_sampling
from app.http.openai_chat_schemas import ChatReply, ChatRequest
from app.http.openai_chat_stream import open_openai_stream
from app.http.openai_models import resolve_chat_model
from app.overload import Load
from app.resources import Resources
from app.services.chat_answers import CollectionEvent
from app.services.types import Scope
from embeddings.errors import InvalidInput


class ChatController(Controller):
    """Answers for clients that speak OpenAI's API."""

    path = "/chat"
    tags = ("OpenAI",)
    opt = {"collections": FILTERED}  # noqa: RUF012  Litestar's interface

    @post(
        "/completions",
        scope=Scope.READ,
        load=Load.ANSWER,
        status_code=200,
        summary="Chat, or ask a collection",
        operation_class=StreamedOperation,
        responses={
            200: ResponseSpec(ChatReply, generate_examples=False, description="The reply"),
            **openai_responses(400, 404, 413, 415, 429, 502),
        },
    )
    async def create_chat_completion(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[ChatRequest],
        resources: NamedDependency[Resources],
    ) -> Response[Any]:
        """Continue a conversation with the decoder, or answer its last message from a collection.

        A collection is named by the model `footnote:COLLECTION` or in the field `collection`; its reply has
        `annotations` that cite the sources, and the field `footnote`. With `stream` the reply is a stream of
        chunks that ends with `[DONE]`; a comment comes at least every 10 seconds. Closing the connection
        stops the work.
        """
        refuse_features(data)
        with in_wire_names(_wire_names(data)):
            head, events = await _start(request, data, resources)
            if data.stream:
                chunks = ChatChunks(head, data.include_usage)
                return await while_connected(request, open_openai_stream(events, chunks.of))
            gathered = await while_connected(request, gather(events))
        return Response(chat_reply(gathered, head, bool(data.logprobs)))


def _wire_names(asked: ChatRequest) -> dict[str, str]:
    tokens = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
    question = f"messages[{len(asked.messages) - 1}].content"
    logprobs = "logprobs" if asked.top_logprobs is None else "top_logprobs"
    return {"prompt": "messages", "question": question, "logprobs": logprobs, "max_tokens": tokens}


async def _start(
    request: Request[Any, Any, Any], asked: ChatRequest, resources: Resources
) -> tuple[ReplyHead, AsyncGenerator[CollectionEvent, None]]:
    """The events to come, of which none has been worked for yet."""
    collection = await collection_named(asked, resources, principal_of(request))
    if collection is not None:
        head = ReplyHead(asked.model, collection, str(request.base_url))
        question = collection_question(asked, resources.answers.can_rewrite)
        return head, resources.chat.answer(collection, question)
    model = resolve_chat_model(asked.model, resources)
    messages = read_messages(asked.messages)
    tokens = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
    sampling = read_sampling(asked, tokens, _logprobs(asked), resources.chat.defaults)
    events = resources.chat.chat(messages, sampling, read_format(asked), fill=tokens is None)
    return ReplyHead(model), events


def _logprobs(asked: ChatRequest) -> int | None:
    """How many alternatives to tell with each token; None: not even its own probability."""
    if asked.logprobs:
        return asked.top_logprobs or 0
    if asked.top_logprobs:
        raise InvalidInput(
            "top_logprobs needs logprobs",
            field="top_logprobs",
            found=str(asked.top_logprobs),
            expected="logprobs to be true",
        )
    return None
