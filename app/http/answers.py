"""The answer route: JSON, or typed server-sent events when asked for."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from app.http.access import principal_of
from app.http.answer_schemas import AnswerReply, AnswerRequest
from app.http.answer_stream import open_stream
from app.http.collections import CollectionName
from app.http.disconnect import while_connected
from app.http.event_stream import EVENT_STREAM, StreamedOperation
from app.http.problems import problem_responses
from app.overload import Load
from app.resources import Resources
from app.services.conversation_types import Asker
from app.services.types import AnswerEvent, AnswerOutput, Scope


def _wants_events(request: Request[Any, Any, Any]) -> bool:
    return request.accept.best_match([MediaType.JSON, EVENT_STREAM], default=MediaType.JSON) == EVENT_STREAM


class AnswerController(Controller):
    """Answer questions from a collection, with footnotes."""

    path = "/collections/{name:str}"
    tags = ("Answer",)

    @post(
        "/answer",
        scope=Scope.READ,
        load=Load.ANSWER,
        status_code=200,
        summary="Answer a question",
        operation_class=StreamedOperation,
        responses={
            200: ResponseSpec(
                AnswerReply,
                generate_examples=False,
                description="The answer",
            ),
            **problem_responses(404, 415, 504),
        },
    )
    async def answer(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: JSONBody[AnswerRequest],
        resources: NamedDependency[Resources],
    ) -> Response[Any]:
        """Answer from the collection, or say that it is not there.

        A follow-up question comes with its `history`, or with the `conversation_id` of a kept conversation;
        a decoder that chats rewrites it first. `question_used` tells what was searched.

        With `Accept: text/event-stream` the reply is a stream of the events `search_results` (the hits),
        `message` (`{"delta": "..."}`), `citation`, `final_answer` (the JSON reply) and `error` (problem
        details); a comment comes at least every 10 seconds. Closing the connection stops the work.
        """
        asker = Asker.of(principal_of(request))
        events = resources.conversations.answer(name, data.to_input(), asker, data.conversation_id)
        if _wants_events(request):
            return await while_connected(request, open_stream(events, data.explain))
        return Response(AnswerReply.of(await while_connected(request, _final(events)), data.explain))


async def _final(events: AsyncGenerator[AnswerEvent, None]) -> AnswerOutput:
    async with aclosing(events):
        return [event async for event in events if isinstance(event, AnswerOutput)][-1]
