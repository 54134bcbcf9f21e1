import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from embeddings.errors import FootnoteError, InvalidInput, Overloaded, UpstreamFailed
from generation.causal.chat import (
    ChatEvent,
    ChatMessage,
    ChoiceDone,
    ChoiceFormat,
    GroundedFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    TextDelta,
    TokenLogprob,
    Usage,
)
from generation.causal.remote import ATTEMPTS, RemoteAddress, RemoteChatModel
from generation.sampling import SamplingSettings
from tests.generation.causal.openai_stub import Answer, Stub, delta, hang_up, refuse, serving, stream

CHAT = [ChatMessage("system", "Be brief."), ChatMessage("user", "Когда сажают томаты? 番茄")]
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
IN_MAY = stream(delta("In "), delta("мае。"), delta("", finish="stop"), USAGE)
SAID = [TextDelta(0, "In "), TextDelta(0, "мае。"), ChoiceDone(0, "stop"), Usage(9, 2)]


def model_at(stub: Stub, timeout_s: float = 5.0, **changes: object) -> RemoteChatModel:
    address = RemoteAddress(stub.url, "tiny", timeout_s=timeout_s, first_pause_s=0.001)
    return RemoteChatModel(replace(address, **changes))  # type: ignore[arg-type]


async def collect(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in events]


async def ask(*script: Answer, **changes: object) -> list[ChatEvent]:
    async with serving(*script) as stub:
        return await collect(model_at(stub, **changes).chat(CHAT, SamplingSettings()))


async def test_a_chat_is_streamed_piece_by_piece_and_ends_with_its_usage() -> None:
    async with serving(IN_MAY) as stub:
        model = model_at(stub, key="secret")
        assert await collect(model.chat(CHAT, SamplingSettings(max_tokens=7))) == SAID
    (body,) = stub.bodies
    assert stub.heads[0].startswith("POST /v1/chat/completions HTTP/1.1")
    assert "authorization: bearer secret" in stub.heads[0].lower()
    assert body == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 1.0,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Когда сажают томаты? 番茄"},
        ],
    }


async def test_a_completion_continues_a_text() -> None:
    pieces = [{"choices": [{"index": 0, "text": " May", "finish_reason": None}]}]
    pieces.append({"choices": [{"index": 0, "text": ".", "finish_reason": "length"}]})
    async with serving(stream(*pieces)) as stub:
        events = await collect(model_at(stub).complete("It is", SamplingSettings()))
    assert events == [TextDelta(0, " May"), TextDelta(0, "."), ChoiceDone(0, "length"), Usage(0, 0)]
    assert stub.heads[0].startswith("POST /v1/completions")
    assert stub.bodies[0]["prompt"] == "It is"
    assert "authorization" not in stub.heads[0].lower()


async def test_only_what_a_request_asks_for_is_sent_beyond_the_usual_fields() -> None:
    sampling = SamplingSettings(
        temperature=0.7, top_k=5, min_p=0.1, seed=3, stop=("\n",), n=2, logit_bias=((5, -1.0),), logprobs=2
    )
    async with serving(IN_MAY) as stub:
        await collect(model_at(stub).chat(CHAT, sampling, JsonObjectFormat()))
        schema = {"type": "object"}
        await collect(model_at(stub).chat(CHAT, SamplingSettings(), JsonSchemaFormat(schema, "thing")))
    wanted = {
        "temperature": 0.7, "top_k": 5, "min_p": 0.1, "seed": 3, "stop": ["\n"], "n": 2,
        "logit_bias": {"5": -1.0}, "logprobs": True, "top_logprobs": 2,
        "response_format": {"type": "json_object"},
    }  # fmt: skip
    assert wanted.items() <= stub.bodies[0].items()
    assert stub.bodies[1]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "thing", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize(
    ("sampling", "response", "field"),
    [
        (SamplingSettings(beams=2), None, "beams"),
        (SamplingSettings(no_repeat_ngram=3), None, "no_repeat_ngram"),
        (SamplingSettings(), RegexFormat("a+"), "response_format"),
        (SamplingSettings(), ChoiceFormat(("a",)), "response_format"),
        (SamplingSettings(), GroundedFormat(("a",), ("[1]",)), "response_format"),
    ],
)
async def test_what_no_such_server_does_is_refused_before_it_is_asked(
    sampling: SamplingSettings, response: object, field: str
) -> None:
    async with serving(IN_MAY) as stub:
        with pytest.raises(InvalidInput) as caught:
            await collect(model_at(stub).chat(CHAT, sampling, response))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert stub.bodies == []


async def test_logprobs_come_with_their_bytes_and_alternatives() -> None:
    token = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}
    token["top_logprobs"] = [{"token": "é", "logprob": -0.5, "bytes": None}, {"token": "e", "logprob": -1.5}]
    chunk = delta("é", finish="stop", logprobs={"content": [token]})
    events = await ask(stream(chunk))
    best, other = TokenLogprob("é", -0.5, "é".encode()), TokenLogprob("e", -1.5, b"e")
    assert events[0] == TextDelta(0, "é", (TokenLogprob("é", -0.5, "é".encode(), (best, other)),))


async def test_several_choices_keep_their_numbers() -> None:
    events = await ask(stream(delta("a", 1), delta("b", 0), delta("", 1, "length"), delta("", 0, "stop")))
    assert events[:4] == [
        TextDelta(1, "a"),
        TextDelta(0, "b"),
        ChoiceDone(1, "length"),
        ChoiceDone(0, "stop"),
    ]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_server_is_asked_again(status: int) -> None:
    assert await ask(refuse(status), refuse(status, Retry_After="0"), IN_MAY) == SAID


async def test_a_server_that_stays_busy_is_overload_with_its_own_time_to_come_back() -> None:
    async with serving(refuse(429, Retry_After="0.01")) as stub:
        with pytest.raises(Overloaded) as caught:
            await collect(model_at(stub).chat(CHAT, SamplingSettings()))
    assert len(stub.bodies) == ATTEMPTS
    assert caught.value.retry_after_s == 1


async def test_a_server_that_wants_more_patience_than_the_timeout_is_not_waited_for() -> None:
    async with serving(refuse(503, Retry_After="3600"), IN_MAY) as stub:
        with pytest.raises(Overloaded) as caught:
            await collect(model_at(stub).chat(CHAT, SamplingSettings()))
    assert len(stub.bodies) == 1
    assert caught.value.retry_after_s == 3600


async def test_a_slow_start_is_waited_for() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await IN_MAY(writer)

    assert await ask(slow) == SAID


async def test_silence_beyond_the_timeout_is_told() -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    with pytest.raises(Overloaded, match=r"silent for 0\.05 s"):
        await ask(silent, timeout_s=0.05)


async def test_a_server_that_is_not_there_is_told_with_its_address() -> None:
    address = RemoteAddress("http://user:password@127.0.0.1:1/v1", "tiny", first_pause_s=0.001)
    with pytest.raises(Overloaded, match=r"127\.0\.0\.1:1/v1 does not answer: no connection") as caught:
        await collect(RemoteChatModel(address).chat(CHAT, SamplingSettings()))
    assert "password" not in str(caught.value)
    assert "FOOTNOTE_DECODER_URL" in (caught.value.next_step or "")


NOT_THERE = '{"error": {"message": "The model `tiny` does not exist"}}'


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (refuse(401, '{"error": {"message": "Incorrect API key"}}'), UpstreamFailed, "Incorrect API key"),
        (refuse(403), UpstreamFailed, "status 403: nothing"),
        (refuse(404, NOT_THERE), UpstreamFailed, "The model `tiny` does not exist"),
        (refuse(400, '{"error": "the context is full"}'), InvalidInput, "the context is full"),
        (refuse(500, "<html>broken</html>"), UpstreamFailed, "broken"),
        (refuse(200, '{"choices": []}', Content_Type="application/json"), UpstreamFailed, "application/json"),
        (stream("data: {garbage"), UpstreamFailed, "garbage"),
        (stream('data: {"choices": 7}'), UpstreamFailed, "choices"),
        (stream('data: {"error": {"message": "out of memory"}}'), UpstreamFailed, "out of memory"),
        (stream("<html>", "hello", done=False), UpstreamFailed, "middle of the answer"),
        (stream(delta("In "), done=False), UpstreamFailed, "middle of the answer"),
        (stream(delta("In ")), UpstreamFailed, "middle of the answer"),
        (hang_up, Overloaded, "broke off"),
    ],
)
async def test_what_the_server_does_wrong_is_told(
    answer: Answer, kind: type[FootnoteError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        await ask(answer)


async def test_comments_carriage_returns_and_a_missing_last_blank_line_are_read() -> None:
    def tail(text: str) -> str:
        return f'data:{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":"stop"}}]}}'

    assert (await ask(stream(": ping", f"event: x\r\n{tail('In ')}\r", done=False)))[0] == TextDelta(0, "In ")

    async def bare(writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        writer.write((head + tail("In ")).encode())

    assert (await ask(bare))[0] == TextDelta(0, "In ")


async def test_closing_the_events_hangs_up() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        await stream(delta("In "), done=False)(writer)
        await asyncio.sleep(60)

    async with serving(endless) as stub:
        async with aclosing(model_at(stub).chat(CHAT, SamplingSettings())) as events:
            assert await anext(events) == TextDelta(0, "In ")
            assert not stub.gone.is_set()
        await asyncio.wait_for(stub.gone.wait(), 10)


@pytest.mark.parametrize(
    "url", ["localhost:8080/v1", "ftp://host/v1", "http://", "http://host:port/v1", "nonsense"]
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        RemoteChatModel(RemoteAddress(url, "tiny"))
    assert caught.value.field == "FOOTNOTE_DECODER_URL"


def test_tokens_are_rather_counted_too_high() -> None:
    model = RemoteChatModel(RemoteAddress("http://127.0.0.1:1/v1", "tiny"))
    assert model.count_tokens("") == 1
    assert model.count_tokens("When are tomatoes planted?") >= 6
    assert model.count_tokens("番茄什么时候种植") >= 8
