"""Chat with a decoder, through the official client."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from litestar import Litestar
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from app.resources import Models
from generation.causal.chat import ChatMessage, ChoiceFormat, JsonObjectFormat, JsonSchemaFormat, RegexFormat
from generation.sampling import SamplingSettings
from tests.app.http.chat_clients import official_client, user
from tests.app.http.conftest import Client
from tests.app.http.embedding_clients import serve
from tests.app.http.scripted_chat import ScriptedChatModel

MODEL = "scripted"
SCHEMA = {"type": "object", "properties": {"month": {"type": "string"}}}


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


async def chat(openai: AsyncOpenAI, **asked: Any) -> ChatCompletion:
    messages = asked.pop("messages", [user("When?")])
    reply: ChatCompletion = await openai.chat.completions.create(model=MODEL, messages=messages, **asked)
    return reply


async def chunks_of(openai: AsyncOpenAI, **asked: Any) -> list[ChatCompletionChunk]:
    stream: Any = await openai.chat.completions.create(
        model=MODEL, messages=[user("When?")], stream=True, **asked
    )
    return [chunk async for chunk in stream]


async def test_reply_holds_the_text_and_its_cost(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    reply = await chat(openai)
    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content) == ("assistant", decoder.text)
    assert (reply.object, reply.model, choice.finish_reason) == ("chat.completion", "scripted@1", "stop")
    usage = reply.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 4, 9)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 1


async def test_chunks_of_a_stream_are_the_reply_in_pieces(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    chunks = await chunks_of(openai)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert [delta.role for delta in deltas] == ["assistant", *[None] * 5]
    assert [delta.content for delta in deltas] == ["", *decoder.words, None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [*[None] * 5, "stop"]
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


async def test_stream_ends_with_the_usage_where_it_is_asked_for(openai: AsyncOpenAI) -> None:
    *others, last = await chunks_of(openai, stream_options={"include_usage": True})
    assert (last.choices, last.usage and last.usage.total_tokens) == ([], 9)
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in others)


async def test_stream_ends_with_done(client: Client) -> None:
    body = {"model": MODEL, "messages": [user("When?")], "stream": True}
    reply = await client.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("\n\ndata: [DONE]\n\n")


@contextmanager
def synchronous_client(address: str) -> Iterator[OpenAI]:
    with OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


async def test_synchronous_client_reads_a_stream_while_it_is_written(
    application: Litestar, decoder: ScriptedChatModel
) -> None:
    decoder.may_continue.clear()
    loop = asyncio.get_running_loop()

    def read(address: str) -> list[str]:
        with synchronous_client(address) as client:
            stream = client.chat.completions.create(model=MODEL, messages=[user("When?")], stream=True)
            pieces = (chunk.choices[0].delta.content or "" for chunk in stream)
            beginning = list(itertools.islice(pieces, 2))
            loop.call_soon_threadsafe(decoder.may_continue.set)
            return [*beginning, *pieces]

    async with serve(application) as address:
        assert "".join(await asyncio.to_thread(read, address)) == decoder.text


async def test_synchronous_client_is_answered(application: Litestar, decoder: ScriptedChatModel) -> None:
    def ask(address: str) -> str | None:
        with synchronous_client(address) as client:
            reply = client.chat.completions.create(model=MODEL, messages=[user("When?")])
            return reply.choices[0].message.content

    async with serve(application) as address:
        assert await asyncio.to_thread(ask, address) == decoder.text


async def test_clients_own_gatherer_reads_the_stream(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    async with openai.chat.completions.stream(model=MODEL, messages=[user("When?")], logprobs=True) as stream:
        async for _ in stream:
            pass
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == decoder.text
    assert completion.choices[0].finish_reason == "stop"


async def test_conversation_reaches_the_decoder_as_it_is(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    parts = [{"type": "text", "text": "когда"}, {"type": "text", "text": "何时"}]
    messages = [
        {"role": "developer", "content": "Be brief"},
        user("Hi"),
        {"role": "assistant", "content": "Hello", "refusal": None, "annotations": [], "tool_calls": None},
        user(parts),
    ]
    await chat(openai, messages=messages)
    assert decoder.conversations == [
        [
            ChatMessage("system", "Be brief"),
            ChatMessage("user", "Hi"),
            ChatMessage("assistant", "Hello"),
            ChatMessage("user", "когда\n何时"),
        ]
    ]


async def test_every_sampling_field_reaches_the_decoder(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    await chat(
        openai, temperature=0.7, top_p=0.9, n=2, seed=7, stop=["\n", "User:"], max_completion_tokens=3,
        presence_penalty=0.5, frequency_penalty=-0.5, logit_bias={"12": -100}, logprobs=True, top_logprobs=2,
        extra_body={
            "top_k": 40, "min_p": 0.05, "typical_p": 0.95, "repetition_penalty": 1.1,
            "no_repeat_ngram_size": 3, "ignore_eos": True,
        },
    )  # fmt: skip
    assert decoder.settings == [
        SamplingSettings(
            temperature=0.7, top_k=40, top_p=0.9, seed=7, max_tokens=3, stop=("\n", "User:"), min_p=0.05,
            typical_p=0.95, repetition_penalty=1.1, presence_penalty=0.5, frequency_penalty=-0.5,
            no_repeat_ngram=3, logit_bias=((12, -100.0),), logprobs=2, n=2, ignore_eos=True,
        )
    ]  # fmt: skip


async def test_beam_search_takes_its_beams_from_best_of(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    extensions = {"use_beam_search": True, "best_of": 4, "length_penalty": 0.8}
    await chat(openai, n=2, max_tokens=9, extra_body=extensions)
    assert decoder.settings == [SamplingSettings(n=2, beams=4, length_penalty=0.8, max_tokens=9)]


async def test_without_max_tokens_the_answer_may_fill_the_context(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    await chat(openai, messages=[user("x" * 50)])
    assert 0 < decoder.settings[0].max_tokens <= decoder.context_tokens - 50


async def test_decoding_is_greedy_unless_asked(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    await chat(openai, max_tokens=5)
    await chat(openai, max_tokens=5, temperature=None, n=None, extra_body={"top_k": -1, "min_p": None})
    assert decoder.settings == [SamplingSettings(max_tokens=5)] * 2


async def test_each_choice_is_told_apart(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    reply = await chat(openai, n=3, temperature=1)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert {choice.message.content for choice in reply.choices} == {decoder.text}
    told: dict[int, str] = {}
    for chunk in await chunks_of(openai, n=3, temperature=1):
        (choice,) = chunk.choices
        told[choice.index] = told.get(choice.index, "") + (choice.delta.content or "")
    assert told == dict.fromkeys(range(3), decoder.text)


async def test_answer_that_max_tokens_cuts_says_so(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    (choice,) = (await chat(openai, max_tokens=2)).choices
    assert (choice.message.content, choice.finish_reason) == ("".join(decoder.words[:2]), "length")


async def test_log_probabilities_come_with_their_bytes(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    (choice,) = (await chat(openai, logprobs=True, top_logprobs=2)).choices
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert [token.token for token in tokens] == list(decoder.words)
    assert [bytes(token.bytes or []).decode() for token in tokens] == list(decoder.words)
    assert [token.logprob for token in tokens] == [-0.5] * 4
    assert [top.logprob for top in tokens[0].top_logprobs] == [-1.0, -2.0]
    streamed = await chunks_of(openai, logprobs=True, top_logprobs=2)
    pieces = [chunk.choices[0].logprobs for chunk in streamed]
    assert [token for piece in pieces if piece for token in piece.content or []] == tokens


async def test_log_probabilities_are_told_only_when_asked_for(openai: AsyncOpenAI) -> None:
    assert (await chat(openai)).choices[0].logprobs is None


FORMATS: list[tuple[dict[str, Any], Any]] = [
    ({"response_format": {"type": "text"}}, None),
    ({"response_format": {"type": "json_object"}}, JsonObjectFormat()),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "date", "schema": SCHEMA, "strict": True},
            }
        },
        JsonSchemaFormat(SCHEMA, "date"),
    ),
    ({"extra_body": {"guided_json": SCHEMA}}, JsonSchemaFormat(SCHEMA)),
    ({"extra_body": {"guided_regex": "[0-9]+"}}, RegexFormat("[0-9]+")),
    ({"extra_body": {"guided_choice": ["да", "нет"]}}, ChoiceFormat(("да", "нет"))),
]


async def test_format_reaches_the_decoder(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    for asked, _ in FORMATS:
        await chat(openai, **asked)
    assert decoder.formats == [expected for _, expected in FORMATS]


async def test_fields_that_change_nothing_are_accepted(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    reply = await chat(
        openai, user="somebody", metadata={"a": "b"}, store=False, service_tier="auto",
        parallel_tool_calls=True, tools=[], tool_choice="none", modalities=["text"], reasoning_effort="low",
        prompt_cache_key="k", safety_identifier="s", verbosity="low",
    )  # fmt: skip
    assert reply.choices[0].message.content == decoder.text


async def test_full_id_is_accepted(openai: AsyncOpenAI) -> None:
    reply = await openai.chat.completions.create(model="scripted@1", messages=[user("When?")])
    assert reply.model == "scripted@1"
