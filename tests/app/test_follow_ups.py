"""Follow-up questions in the answer service, with decoders that follow a script."""

import asyncio
from dataclasses import replace

import pytest

from app.resources import Models, Resources
from app.services.answers import AnswerService
from app.services.types import AnswerInput, SearchOutput
from embeddings.errors import InvalidInput, UpstreamFailed
from generation.causal.chat import ChatMessage
from generation.causal.rewriting import QuestionRewriter
from tests.app.http.scripted_chat import ScriptedChatModel

SAID = (ChatMessage("user", "When are peas sown?"), ChatMessage("assistant", "In April."))
FOLLOW_UP = AnswerInput("And how deep?", history=SAID)


class RoomyChatModel(ScriptedChatModel):
    """Its tokens are characters, and a prompt with examples has many."""

    context_tokens = 100_000


@pytest.fixture
def chat() -> RoomyChatModel:
    return RoomyChatModel("How deep", " are peas", " sown?")


@pytest.fixture
def models(models: Models, chat: RoomyChatModel) -> Models:
    return replace(models, chat=chat)


async def first(service: AnswerService, collection: str, wanted: AnswerInput) -> SearchOutput:
    stream = service.answer(collection, wanted)
    event = await anext(stream)
    await stream.aclose()
    assert isinstance(event, SearchOutput)
    return event


async def test_the_hits_tell_the_question_that_was_searched(resources: Resources, notes: str) -> None:
    assert resources.answers.can_rewrite
    assert (await first(resources.answers, notes, FOLLOW_UP)).query == "How deep are peas sown?"


async def test_closing_the_stream_stops_a_decoder_that_rewrites(
    resources: Resources, notes: str, chat: RoomyChatModel
) -> None:
    chat.may_continue.clear()
    asked = asyncio.ensure_future(anext(resources.answers.answer(notes, FOLLOW_UP)))
    await chat.started.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    async with asyncio.timeout(10):
        await chat.cancelled.wait()
    assert resources.answers.in_flight == 0


async def test_a_failure_while_rewriting_is_the_answer_s_and_leaves_no_place_taken(
    resources: Resources, notes: str, chat: RoomyChatModel
) -> None:
    chat.fails = UpstreamFailed("the server is gone")
    with pytest.raises(UpstreamFailed):
        await first(resources.answers, notes, FOLLOW_UP)
    assert resources.answers.in_flight == 0


async def test_what_is_longer_than_a_question_may_be_is_asked_as_it_was(
    resources: Resources, notes: str, chat: RoomyChatModel
) -> None:
    settings = replace(resources.settings, max_query_chars=len(FOLLOW_UP.question))
    services = resources.search, resources.collections, resources.answerer, settings
    service = AnswerService(*services, rewriter=QuestionRewriter(chat))
    try:
        assert (await first(service, notes, FOLLOW_UP)).query == FOLLOW_UP.question
    finally:
        await asyncio.to_thread(service.close)


async def test_a_history_is_checked_before_the_decoder_is_asked(
    resources: Resources, notes: str, chat: RoomyChatModel
) -> None:
    with pytest.raises(InvalidInput) as raised:
        await first(resources.answers, notes, replace(FOLLOW_UP, history=SAID * 51))
    assert (raised.value.field, raised.value.found) == ("history", "102 turns")
    assert chat.conversations == []
