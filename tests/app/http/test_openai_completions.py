"""Text completions, through the official client."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient as Client
from litestar import Litestar
from openai import AsyncOpenAI, OpenAI
from openai.types import Completion

from app.resources import Models
from generation.causal.chat import RegexFormat
from generation.sampling import SamplingSettings
from tests.app.http.chat_clients import official_client
from tests.app.http.embedding_clients import serve
from tests.app.http.scripted_chat import ScriptedChatModel

MODEL = "scripted"


@pytest.fixture
def decoder() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.fixture
def models(models: Models, decoder: ScriptedChatModel) -> Models:
    return replace(models, chat=decoder)


@pytest.fixture
async def openai(client: Client, application: Litestar) -> AsyncIterator[AsyncOpenAI]:
    async with official_client(application) as opened:
        yield opened


async def complete(openai: AsyncOpenAI, prompt: Any = "Tomatoes", **asked: Any) -> Completion:
    reply: Completion = await openai.completions.create(model=MODEL, prompt=prompt, **asked)
    return reply


async def chunks_of(openai: AsyncOpenAI, prompt: Any = "Tomatoes", **asked: Any) -> list[Completion]:
    asked = {"model": MODEL, "prompt": prompt, "stream": True} | asked
    stream: Any = await openai.completions.create(**asked)
    return [chunk async for chunk in stream]


async def test_reply_continues_the_prompt_as_it_is(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    reply = await complete(openai)
    (choice,) = reply.choices
    assert (choice.text, choice.finish_reason, choice.logprobs) == (decoder.text, "stop", None)
    assert (reply.object, reply.model) == ("text_completion", "scripted@1")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (8, 4)
    assert decoder.prompts == ["Tomatoes"]


async def test_stream_is_the_reply_in_pieces(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    *pieces, end, last = await chunks_of(openai, stream_options={"include_usage": True})
    assert [chunk.choices[0].text for chunk in pieces] == list(decoder.words)
    assert (end.choices[0].text, end.choices[0].finish_reason) == ("", "stop")
    assert (last.choices, last.usage and last.usage.total_tokens) == ([], 12)


async def test_synchronous_client_reads_a_stream(application: Litestar, decoder: ScriptedChatModel) -> None:
    def read(address: str) -> str:
        with OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
            stream: Any = client.completions.create(model=MODEL, prompt="Tomatoes", stream=True)
            return "".join(chunk.choices[0].text for chunk in stream)

    async with serve(application) as address:
        assert await asyncio.to_thread(read, address) == decoder.text


async def test_choices_come_prompt_by_prompt(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    reply = await complete(openai, ["When", "Where", "Кто"], n=2, temperature=1)
    assert [choice.index for choice in reply.choices] == list(range(6))
    assert sorted(decoder.prompts) == sorted(["When", "Where", "Кто"])
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (12, 24)


async def test_sixteen_tokens_are_written_unless_asked(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    await complete(openai)
    await complete(openai, max_tokens=2, extra_body={"guided_regex": "a+"})
    assert decoder.settings == [SamplingSettings(max_tokens=16), SamplingSettings(max_tokens=2)]
    assert decoder.formats == [None, RegexFormat("a+")]


async def test_log_probabilities_have_the_older_form(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    (choice,) = (await complete(openai, logprobs=2)).choices
    told = choice.logprobs
    assert told is not None
    assert told.tokens == list(decoder.words)
    assert told.token_logprobs == [-0.5] * 4
    assert told.top_logprobs is not None
    assert told.top_logprobs[0] == {"Plant0": -1.0, "Plant1": -2.0}
    assert told.text_offset is not None
    assert told.text_offset == [0, 5, 14, 18]
    pieces = [chunk.choices[0].logprobs for chunk in await chunks_of(openai, logprobs=2)]
    assert [offset for piece in pieces if piece for offset in piece.text_offset or []] == told.text_offset


async def test_settings_of_chat_hold_here_too(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    await complete(openai, temperature=0.5, seed=1, stop="\n", best_of=1, user="somebody", echo=False)
    assert decoder.settings == [SamplingSettings(temperature=0.5, seed=1, stop=("\n",), max_tokens=16)]
