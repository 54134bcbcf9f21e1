"""Chat between the routes and the decoder: room in the context, many prompts, drafts that don't hold."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.services.chat import ChatService, ContextLengthExceeded, NoChatModel
from app.services.chat_answers import WITHDRAWN, CollectionTurn, stream_turn
from app.services.chat_merging import merge
from app.services.types import AnswerEvent, AnswerInput, AnswerOutput, SearchOutput
from embeddings.errors import InvalidInput, Overloaded
from generation.causal.chat import ChatMessage, ChoiceDone, TextDelta, Usage
from generation.sampling import SamplingSettings
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation, MessageDelta
from retrieval.types import SearchMode
from tests.app.http.scripted_chat import ScriptedChatModel

FOUND = SearchOutput("When?", SearchMode.HYBRID, (), None, 1.0, False, 1)
MAY = Citation(1, "beds", 1, 0, 6, "In May", "Beds")


class NoAnswers:
    """Chat without collections."""

    def answer(self, collection: str, wanted: AnswerInput) -> AsyncGenerator[AnswerEvent, None]:
        raise AssertionError(f"{collection} was asked {wanted.question}")


def service_of(model: ScriptedChatModel | None) -> ChatService:
    return ChatService(model, NoAnswers())


async def collect(events: AsyncGenerator[Any, None]) -> list[Any]:
    return [event async for event in events]


def said(content: str) -> list[ChatMessage]:
    return [ChatMessage("user", content)]


async def test_room_that_the_prompt_leaves_is_filled() -> None:
    model = ScriptedChatModel()
    await collect(service_of(model).chat(said("x" * 20), SamplingSettings(), fill=True))
    await collect(service_of(model).chat(said("x" * 200), SamplingSettings(), fill=True))
    short, long = model.settings
    assert 20 + short.max_tokens < model.context_tokens
    assert short.max_tokens > 50
    assert long.max_tokens == 1  # the decoder itself refuses the prompt, with its own count


@pytest.mark.parametrize(
    ("content", "max_tokens", "field"), [("x" * 3201, 1, "prompt"), ("x", 100, "max_tokens")]
)
async def test_what_cannot_fit_is_refused_before_the_decoder_is_asked(
    content: str, max_tokens: int, field: str
) -> None:
    model = ScriptedChatModel()
    with pytest.raises(ContextLengthExceeded, match="maximum context length is 100 tokens") as refused:
        await anext(service_of(model).chat(said(content), SamplingSettings(max_tokens=max_tokens)))
    assert refused.value.field == field
    assert model.settings == []


async def test_without_a_decoder_that_chats_both_ways_are_refused() -> None:
    with pytest.raises(NoChatModel):
        await anext(service_of(None).chat(said("x"), SamplingSettings()))
    with pytest.raises(NoChatModel):
        await anext(service_of(None).complete(["x"], SamplingSettings()))


async def test_closing_a_chat_cancels_the_decoder() -> None:
    model = ScriptedChatModel()
    events = service_of(model).chat(said("x"), SamplingSettings())
    await anext(events)
    await events.aclose()
    assert model.cancelled.is_set()


async def test_choices_of_several_prompts_are_numbered_in_their_order() -> None:
    model = ScriptedChatModel("a", "b")
    events = await collect(service_of(model).complete(["x", "yy"], SamplingSettings(n=2, temperature=1.0)))
    assert {event.choice for event in events if isinstance(event, TextDelta)} == {0, 1, 2, 3}
    assert [event for event in events if isinstance(event, Usage)] == [Usage(3, 8, 2)]
    assert isinstance(events[-1], Usage)


async def test_one_failing_prompt_ends_the_others() -> None:
    never = asyncio.Event()
    closed = asyncio.Event()

    async def waiting() -> AsyncGenerator[int, None]:
        try:
            await never.wait()
            yield 1
        finally:
            closed.set()

    async def failing() -> AsyncGenerator[int, None]:
        yield 0
        raise InvalidInput("too long")

    with pytest.raises(InvalidInput):
        await collect(merge([waiting(), failing()]))
    assert closed.is_set()


async def test_closing_a_merged_stream_closes_all() -> None:
    model = ScriptedChatModel()
    model.may_continue.clear()
    events = service_of(model).complete(["x", "y"], SamplingSettings())
    await anext(events)
    await events.aclose()
    assert model.cancelled.is_set()


async def answered(*events: AnswerEvent) -> AsyncGenerator[AnswerEvent, None]:
    for event in events:
        yield event


def finished(answer: Answer) -> AnswerOutput:
    return AnswerOutput(answer, FOUND, 1.0)


def streamed(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def turn_of(events: list[Any]) -> CollectionTurn:
    (turn,) = [event for event in events if isinstance(event, CollectionTurn)]
    return turn


async def test_repeated_sentence_is_cited_where_each_stands() -> None:
    sentences = (AnswerSentence("In May.", (1,)), AnswerSentence("Or not."), AnswerSentence("In May.", (1,)))
    answer = Answer(AnswerStatus.ANSWERED, "In May. Or not. In May.", 0.9, sentences, (MAY,))
    events = await collect(stream_turn(answered(FOUND, MessageDelta("In May. "), finished(answer))))
    turn = turn_of(events)
    assert streamed(events) == answer.text
    assert [(span.start, span.end) for span in turn.spans] == [(0, 7), (16, 23)]
    assert events[-2:] == [ChoiceDone(0, "stop"), Usage(0, 0)]


async def test_draft_that_is_withdrawn_is_said_not_to_hold() -> None:
    refused = Answer(AnswerStatus.NOT_FOUND, confidence=0.1, prompt_tokens=9, tokens=2)
    events = await collect(stream_turn(answered(FOUND, MessageDelta("In June"), finished(refused))))
    turn = turn_of(events)
    assert streamed(events) == "In June" + WITHDRAWN + turn.text
    assert turn.text == "Not in this collection. Nothing here comes near the question."
    assert events[-1] == Usage(9, 2)


async def test_space_that_a_stop_sequence_left_withdraws_nothing() -> None:
    answer = Answer(AnswerStatus.ANSWERED, "In May", 0.9, (AnswerSentence("In May", (1,)),), (MAY,))
    events = await collect(stream_turn(answered(FOUND, MessageDelta("In May "), finished(answer))))
    assert (streamed(events), turn_of(events).offset) == ("In May ", 0)


async def test_blank_draft_is_not_spoken_of() -> None:
    nothing = Answer(AnswerStatus.NOT_FOUND, confidence=0.6)
    events = await collect(stream_turn(answered(FOUND, MessageDelta("\n"), finished(nothing))))
    assert streamed(events) == "\n" + turn_of(events).text


async def test_offsets_count_behind_a_draft_that_was_replaced() -> None:
    answer = Answer(AnswerStatus.ANSWERED, "In May", 0.9, (AnswerSentence("In May", (1,)),), (MAY,))
    events = await collect(stream_turn(answered(FOUND, MessageDelta("在六月"), finished(answer))))
    turn = turn_of(events)
    (span,) = turn.spans
    assert streamed(events)[turn.offset + span.start : turn.offset + span.end] == "In May"


async def test_failure_of_the_answer_comes_first() -> None:
    async def busy() -> AsyncGenerator[AnswerEvent, None]:
        raise Overloaded("too many questions")
        yield FOUND

    with pytest.raises(Overloaded):
        await anext(stream_turn(busy()))
