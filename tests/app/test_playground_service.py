"""The playground with the decoder that copies, and what it refuses."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.services.chat import ChatService
from app.services.playground import (
    PassagesFound,
    PlaygroundInput,
    PlaygroundService,
    RunEnded,
    TraceTold,
)
from app.services.types import AnswerEvent, AnswerInput, CollectionInfo, SearchInput, SearchOutput
from embeddings.errors import InvalidInput, Overloaded
from generation.answering import Answerer
from generation.causal.chat import ChatModel
from generation.decoder import Decoder
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from tests.app.http.scripted_chat import ScriptedChatModel
from tests.generation.conftest import decoder, tiny_artifact

__all__ = ["decoder", "tiny_artifact"]

TEXT = "The Old Castle was built in 1871. The queen found gold in the north tower."
SHOWN = SamplingSettings(max_tokens=8, logprobs=3)


class Nothing:
    """No collections, no search, no answers."""

    async def get(self, name: str) -> CollectionInfo:
        raise AssertionError(name)

    async def search(self, collection: str, wanted: SearchInput) -> SearchOutput:
        raise AssertionError(collection)

    def answer(self, collection: str, wanted: AnswerInput) -> AsyncGenerator[AnswerEvent, None]:
        raise AssertionError(collection)


def service_of(answerer: Answerer, chat: ChatModel | None = None) -> PlaygroundService:
    return PlaygroundService(Nothing(), Nothing(), answerer, ChatService(chat, Nothing()))


@pytest.fixture
def copying(decoder: Decoder) -> PlaygroundService:
    return service_of(Answerer(GroundedReader(decoder), refuse_below=0.4))


def about_text(sampling: SamplingSettings = SHOWN, text: str = TEXT) -> PlaygroundInput:
    return PlaygroundInput("text", "Who found gold?", sampling, text=text)


async def run(service: PlaygroundService, wanted: PlaygroundInput) -> list[Any]:
    return [event async for event in service.run(wanted)]


async def test_a_copying_decoder_tells_what_it_weighed(copying: PlaygroundService) -> None:
    assert copying.kinds == ("collection", "text")
    found, told, ended = await run(copying, about_text())
    assert isinstance(found, PassagesFound)
    assert isinstance(told, TraceTold)
    assert isinstance(ended, RunEnded)
    assert told.threshold == 0.4
    assert told.trace.reading.text in TEXT
    assert "".join(token.text for token in told.trace.tokens) == told.trace.reading.text
    assert max(len(token.top) for token in told.trace.tokens) == 3


async def test_the_same_seed_draws_the_same(copying: PlaygroundService) -> None:
    drawn = SamplingSettings(temperature=1.5, seed=2, max_tokens=8, logprobs=1)
    (_, first, _), (_, second, _) = (
        await run(copying, about_text(drawn)),
        await run(copying, about_text(drawn)),
    )
    assert first.trace.tokens == second.trace.tokens


async def test_a_text_out_of_its_depth_gives_no_passages(copying: PlaygroundService) -> None:
    found, ended = await run(copying, about_text(text="Убирайте снег с грядок весной."))
    assert found == PassagesFound(())
    assert isinstance(ended, RunEnded)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (PlaygroundInput("chat", "Who?", SHOWN), "kind"),
        (PlaygroundInput("text", " ", SHOWN, text=TEXT), "prompt"),
        (PlaygroundInput("text", "Who?", SHOWN, text=""), "text"),
        (PlaygroundInput("text", "Who?", SHOWN, text="x" * 20_001), "text"),
        (PlaygroundInput("text", "Who?", SHOWN, text=TEXT, passages=21), "passages"),
        (about_text(SamplingSettings(repetition_penalty=1.3)), "repetition_penalty"),
    ],
)
async def test_what_it_cannot_do_is_refused_before_anything(
    copying: PlaygroundService, wanted: PlaygroundInput, field: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        await anext(copying.run(wanted))
    assert error.value.field == field


async def test_without_a_decoder_there_is_nothing_to_run() -> None:
    service = service_of(Answerer(None, refuse_below=0))
    assert (service.kinds, service.decoder) == ((), None)
    with pytest.raises(InvalidInput):
        await run(service, about_text())


async def test_leaving_stops_the_decoder() -> None:
    model = ScriptedChatModel()
    model.may_continue.clear()
    events = service_of(Answerer(None, refuse_below=0), model).run(PlaygroundInput("chat", "Who?", SHOWN))
    await anext(events)
    await events.aclose()
    assert model.cancelled.is_set()


async def test_a_service_that_closes_takes_no_more_runs(copying: PlaygroundService) -> None:
    copying.close()
    with pytest.raises(Overloaded):
        await run(copying, about_text())
