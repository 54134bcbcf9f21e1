"""What chat refuses, and that it is refused at once, in OpenAI's words, with nothing left running."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient as Client
from litestar import Litestar
from openai import APIError, AsyncOpenAI, BadRequestError, NotFoundError, RateLimitError

from app.http.openai_chat_messages import MAX_MESSAGES
from app.http.openai_chat_sampling import MAX_STOP_CHARACTERS
from app.resources import Models, Resources
from app.services.types import Scope
from embeddings.errors import InvalidInput, Overloaded, UpstreamFailed
from tests.app.http.chat_clients import official_client, user
from tests.app.http.conftest import Keys, application_of, connect
from tests.app.http.embedding_clients import serve
from tests.app.http.scripted_chat import ScriptedChatModel

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "scripted", "messages": [user("When?")]},
    TEXT: {"model": "scripted", "prompt": "When?"},
}

IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 3}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "warm"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"min_p": 1.5}, "min_p"),
    ({"typical_p": 0}, "typical_p"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
    ({"seed": -1}, "seed"),
    ({"n": 0}, "n"),
    ({"n": 65}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**9}, "max_tokens"),
    ({"max_tokens": 100}, "max_tokens"),
    ({"stop": [str(number) for number in range(17)]}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": "x" * (MAX_STOP_CHARACTERS + 1)}, "stop"),
    ({"logit_bias": {"word": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"best_of": 3}, "best_of"),
    ({"use_beam_search": True, "best_of": 65}, "best_of"),
    ({"use_beam_search": True, "best_of": 2, "n": 3}, "n"),
    ({"use_beam_search": True, "best_of": 2, "temperature": 1}, "temperature"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
    ({"temprature": 1}, "temprature"),
]
NOT_IN_CHAT: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": [user("x")] * (MAX_MESSAGES + 1)}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [user("x"), {"role": "tool", "content": "x"}]}, "messages[1].role"),
    (
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
        "messages[0]",
    ),
    (
        {"messages": [user([{"type": "image_url", "image_url": {"url": "a"}}])]},
        "messages[0].content[0].type",
    ),
    ({"messages": [user([{"type": "input_audio"}])]}, "messages[0].content[0].type"),
    ({"messages": [user("x" * 3201)]}, "messages"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"functions": [{}]}, "functions"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"audio": {"voice": "a"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"use_beam_search": True, "best_of": 2, "logprobs": True}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 100}, "max_completion_tokens"),
    ({"filter": {"bed": 1}}, "filter"),
    ({"passages": 3}, "passages"),
]
NOT_IN_COMPLETIONS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": ["a"] * 33}, "prompt"),
    ({"prompt": [1, 2]}, "prompt"),
    ({"prompt": ["a", "x" * 3201]}, "prompt"),
    ({"echo": True}, "echo"),
    ({"use_beam_search": True, "best_of": 2, "logprobs": 1}, "logprobs"),
    ({"suffix": "."}, "suffix"),
    ({"logprobs": 21}, "logprobs"),
    ({"model": "footnote:garden"}, "model"),
]


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


async def fields_refused(client: Client, path: str, requests: list[dict[str, Any]]) -> list[str]:
    """The field that each refusal names; all are refusals of the client's own doing, in OpenAI's form."""
    fields = []
    for asked in requests:
        reply = await client.post(path, json=BODIES[path] | asked)
        error = reply.json()["error"]
        assert reply.status_code in {400, 413}, (asked, reply.text)
        assert (reply.headers["content-type"], error["type"]) == ("application/json", "invalid_request_error")
        assert error["message"]
        fields.append(error["param"])
    return fields


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
async def test_impossible_values_are_refused_by_the_names_of_their_fields(
    stream: bool, path: str, client: Client, decoder: ScriptedChatModel
) -> None:
    requests = [{"stream": stream} | asked for asked, _ in IMPOSSIBLE]
    assert await fields_refused(client, path, requests) == [field for _, field in IMPOSSIBLE]
    assert decoder.settings == []


async def test_chat_refuses_what_is_not_served(client: Client, decoder: ScriptedChatModel) -> None:
    requests = [asked for asked, _ in NOT_IN_CHAT]
    assert await fields_refused(client, CHAT, requests) == [field for _, field in NOT_IN_CHAT]
    assert decoder.settings == []


async def test_completions_refuse_what_is_not_served(client: Client, decoder: ScriptedChatModel) -> None:
    requests = [asked for asked, _ in NOT_IN_COMPLETIONS]
    assert await fields_refused(client, TEXT, requests) == [field for _, field in NOT_IN_COMPLETIONS]
    assert decoder.settings == []


async def test_other_model_is_not_found_and_the_served_one_named(openai: AsyncOpenAI) -> None:
    for model in ("gpt-4o", "scripted@2", "", "all-MiniLM-L6-v2"):
        with pytest.raises(NotFoundError, match="scripted@1") as refused:
            await openai.chat.completions.create(model=model, messages=[user("When?")])
        assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize("stream", [False, True])
async def test_prompt_that_the_decoder_finds_too_long_is_refused_before_a_stream_begins(
    stream: bool, openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    decoder.fails = InvalidInput("the prompt has 120 tokens, the context 100", field="prompt")
    with pytest.raises(BadRequestError, match="120 tokens") as refused:
        await openai.chat.completions.create(model="scripted", messages=[user("When?")], stream=stream)
    assert (refused.value.param, refused.value.code) == ("messages", "context_length_exceeded")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
async def test_full_queue_says_when_to_come_back(
    path: str, stream: bool, client: Client, decoder: ScriptedChatModel
) -> None:
    decoder.fails = Overloaded("all slots are taken", retry_after_s=2)
    reply = await client.post(path, json=BODIES[path] | {"stream": stream})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "2")
    assert reply.json()["error"]["code"] == "rate_limit_exceeded"


async def test_failure_in_the_middle_of_a_stream_reaches_the_official_client(
    openai: AsyncOpenAI, decoder: ScriptedChatModel
) -> None:
    decoder.fails, decoder.fails_after = Overloaded("the server broke off"), 2
    stream: Any = await openai.chat.completions.create(
        model="scripted", messages=[user("When?")], stream=True
    )
    told = [(await anext(stream)).choices[0].delta.content for _ in range(3)]
    with pytest.raises(APIError, match="broke off"):
        await anext(stream)
    assert told == ["", *decoder.words[:2]]


async def test_unexpected_failure_in_the_middle_leaks_nothing(
    client: Client, decoder: ScriptedChatModel, caplog: pytest.LogCaptureFixture
) -> None:
    decoder.fails, decoder.fails_after = ZeroDivisionError("secret"), 1
    with caplog.at_level(logging.ERROR):
        reply = await client.post(CHAT, json=BODIES[CHAT] | {"stream": True})
    assert '"server_error"' in reply.text
    assert "secret" not in reply.text
    assert "[DONE]" not in reply.text


async def test_failure_of_a_remote_decoder_is_not_the_clients_fault(
    client: Client, decoder: ScriptedChatModel
) -> None:
    decoder.fails = UpstreamFailed("the decoder refuses our key")
    reply = await client.post(CHAT, json=BODIES[CHAT])
    assert (reply.status_code, reply.json()["error"]["type"]) == (502, "server_error")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_stops_the_decoder(
    path: str, stream: bool, application: Litestar, decoder: ScriptedChatModel
) -> None:
    decoder.may_continue.clear()
    body = BODIES[path] | {"stream": stream}
    async with serve(application) as address, Client() as client:
        asking = asyncio.create_task(client.post(address + path, json=body))
        await decoder.started.wait()
        asking.cancel()
        await asyncio.wait_for(decoder.cancelled.wait(), 10)


@pytest.mark.parametrize("path", BODIES)
async def test_reading_outside_loopback_needs_a_key_with_the_scope(
    path: str, resources: Resources, keys: Keys
) -> None:
    settings = replace(resources.settings, host="0.0.0.0")  # noqa: S104
    application = application_of(resources, settings)
    async with connect(application, "http://search.example") as client:
        await application.state.opening.wait_until_ready()
        missing = await client.post(path, json=BODIES[path])
        unknown = await client.post(path, json=BODIES[path], headers={"Authorization": "Bearer sk-1"})
        allowed = await client.post(path, json=BODIES[path], headers=keys[Scope.READ])
    assert [reply.status_code for reply in (missing, unknown, allowed)] == [401, 401, 200]
    assert missing.json()["error"]["code"] == "invalid_api_key"


async def test_collection_needs_the_same_key_as_its_answers(resources: Resources, keys: Keys) -> None:
    await resources.collections.create("garden")
    settings = replace(resources.settings, host="0.0.0.0")  # noqa: S104
    application = application_of(resources, settings)
    body, statuses = BODIES[CHAT] | {"model": "footnote:garden"}, []
    async with connect(application, "http://search.example") as client:
        await application.state.opening.wait_until_ready()
        question = {"question": "When?"}
        for headers in ({}, *keys.values()):
            chat = await client.post(CHAT, json=body, headers=headers)
            answer = await client.post("/v1/collections/garden/answer", json=question, headers=headers)
            statuses.append((chat.status_code, answer.status_code))
    assert statuses == [(401, 401), (200, 200), (200, 200), (200, 200)]


@pytest.mark.parametrize("path", BODIES)
async def test_foreign_name_for_this_machine_is_refused(path: str, client: Client) -> None:
    reply = await client.post(path, json=BODIES[path], headers={"Host": "evil.example"})
    assert reply.status_code == 403


@pytest.mark.parametrize("path", BODIES)
async def test_broken_body_is_refused(path: str, client: Client) -> None:
    for body in (b'{"model": ', b"\xff", b"", b"[" * 5000):
        reply = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_official_client_knows_a_full_queue(openai: AsyncOpenAI, decoder: ScriptedChatModel) -> None:
    decoder.fails = Overloaded("all slots are taken", retry_after_s=2)
    with pytest.raises(RateLimitError):
        await openai.completions.create(model="scripted", prompt="When?")
