"""Questions to a collection through the official chat client, answered by the bundled decoder."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from litestar import Litestar
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletion

from app.http.answer_schemas import AnswerReply
from app.resources import Models
from generation.answering import Answerer
from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from generation.reader import GroundedReader
from tests.app.http.chat_clients import official_client, user
from tests.app.http.conftest import LOOPBACK, TOMATOES, Client
from tests.app.http.embedding_clients import serve

MODEL = "footnote:garden"
QUESTION = "When do I plant tomatoes?"


@pytest.fixture(scope="module")
def bundled() -> GroundedReader:
    return GroundedReader(Decoder.load(BUNDLED_DECODER, threads=1))


@pytest.fixture
def models(models: Models, bundled: GroundedReader) -> Models:
    return replace(models, answerer=Answerer(bundled, refuse_below=bundled.refuse_below))


@pytest.fixture
async def openai(garden: str, client: Client, application: Litestar) -> AsyncIterator[AsyncOpenAI]:
    """The official client of a service that has the collection `garden`."""
    async with official_client(application) as opened:
        yield opened


async def ask(openai: AsyncOpenAI, question: str = QUESTION, **asked: Any) -> ChatCompletion:
    asked = {"model": MODEL, "messages": [user(question)]} | asked
    reply: ChatCompletion = await openai.chat.completions.create(**asked)
    return reply


def extension(reply: Any) -> dict[str, Any]:
    told: dict[str, Any] = (reply.model_extra or {})["footnote"]
    return told


def assert_quotes_stand_in_the_sources(text: str, annotations: Sequence[dict[str, Any]]) -> None:
    """Every annotation lies in the text, and its quote in the stored document."""
    for annotation in annotations:
        cited, source = annotation["url_citation"], annotation["footnote"]
        assert annotation["type"] == "url_citation"
        assert 0 <= cited["start_index"] < cited["end_index"] <= len(text)
        assert source["document_id"] == "beds/tomatoes"
        assert TOMATOES[source["start"] : source["end"]] == source["quote"]


async def test_answer_comes_with_annotations_that_cite_the_source(openai: AsyncOpenAI) -> None:
    reply = await ask(openai)
    message = reply.choices[0].message
    text, told = message.content or "", extension(reply)
    assert text in TOMATOES
    assert (reply.choices[0].finish_reason, reply.model) == ("stop", MODEL)
    assert (told["status"], told["answer"]) == ("answered", text)
    (annotation,) = message.annotations or []
    assert_quotes_stand_in_the_sources(text, [annotation.to_dict()])
    cited = annotation.url_citation
    assert text[cited.start_index : cited.end_index] == told["sentences"][0]["text"]
    assert cited.title == "Tomatoes"


async def test_address_of_a_citation_opens_the_page_at_the_quote(openai: AsyncOpenAI) -> None:
    (annotation,) = (await ask(openai)).choices[0].message.annotations or []
    address = urlsplit(annotation.url_citation.url)
    source = (annotation.model_extra or {})["footnote"]
    assert f"{address.scheme}://{address.netloc}" == LOOPBACK
    assert {key: value for key, (value,) in parse_qs(address.query).items()} == {
        "c": "garden", "d": "beds/tomatoes", "v": "1", "s": str(source["start"]), "e": str(source["end"]),
    }  # fmt: skip


async def test_usage_is_what_the_decoder_read_and_wrote(openai: AsyncOpenAI) -> None:
    usage = (await ask(openai)).usage
    assert usage is not None
    assert usage.prompt_tokens > len(QUESTION.split())
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_stream_tells_the_same_answer_and_its_annotations_at_the_end(openai: AsyncOpenAI) -> None:
    whole = await ask(openai)
    stream: Any = await openai.chat.completions.create(
        model=MODEL, messages=[user(QUESTION)], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    *texts, cited, end, usage = chunks
    text = "".join(chunk.choices[0].delta.content or "" for chunk in texts)
    annotations = cited.choices[0].delta.model_extra["annotations"]
    assert text == whole.choices[0].message.content
    assert annotations == [item.to_dict() for item in whole.choices[0].message.annotations or []]
    assert extension(cited)["answer"] == text
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage == whole.usage
    assert len(texts) >= 2  # the bundled decoder tells a span once it is sure of it


async def test_clients_own_gatherer_keeps_the_annotations(openai: AsyncOpenAI) -> None:
    async with openai.chat.completions.stream(model=MODEL, messages=[user(QUESTION)]) as stream:
        async for _ in stream:
            pass
        completion = await stream.get_final_completion()
    message = completion.choices[0].message
    assert_quotes_stand_in_the_sources(
        message.content or "", [item.to_dict() for item in message.annotations or []]
    )
    assert message.annotations


async def test_synchronous_client_asks_over_a_socket(garden: str, application: Litestar) -> None:
    def stream(address: str) -> str:
        with OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
            chunks = client.chat.completions.create(model=MODEL, messages=[user(QUESTION)], stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async with serve(application) as address:
        text = await asyncio.to_thread(stream, address)
    assert text
    assert text in TOMATOES


async def test_reply_is_what_the_answer_route_says(openai: AsyncOpenAI, client: Client) -> None:
    reply = extension(await ask(openai))
    answer = (await client.post("/v1/collections/garden/answer", json={"question": QUESTION})).json()
    assert set(reply) == set(AnswerReply.__struct_fields__)
    reply.pop("took_ms"), answer.pop("took_ms")
    assert reply == answer


async def test_collection_may_be_named_beside_the_decoder(
    openai: AsyncOpenAI, bundled: GroundedReader
) -> None:
    by_field = await ask(openai, model=bundled.model_id, extra_body={"collection": "garden"})
    by_model = await ask(openai)
    assert by_field.choices[0].message == by_model.choices[0].message
    assert by_field.model == bundled.model_id


async def test_only_the_last_turn_is_asked(openai: AsyncOpenAI) -> None:
    turns = [{"role": "system", "content": "Answer in verse"}, user("What is snow?"), user(QUESTION)]
    assert (await ask(openai, messages=turns)).choices == (await ask(openai)).choices


async def test_what_is_not_there_is_said_with_the_nearest_documents(openai: AsyncOpenAI) -> None:
    reply = await ask(openai, "Who wrote Hamlet?")
    (choice,) = reply.choices
    assert (choice.message.content or "").startswith("Not in this collection.")
    assert "- Tomatoes" in (choice.message.content or "")
    assert (choice.message.annotations, choice.finish_reason) == ([], "stop")
    assert extension(reply)["status"] == "not_found"


async def test_question_out_of_depth_gets_the_closest_sentences(openai: AsyncOpenAI) -> None:
    reply = await ask(openai, "Когда убирайте снег с грядок?")
    (choice,) = reply.choices
    text = choice.message.content or ""
    assert text.startswith("No answer of its own")
    assert extension(reply)["status"] == "passages_only"
    (annotation,) = choice.message.annotations or []
    cited, source = annotation.url_citation, (annotation.model_extra or {})["footnote"]
    assert text[cited.start_index : cited.end_index] == source["quote"] == "Убирайте снег с грядок весной."
    assert source["document_id"] == "снег"


async def test_answer_cut_by_max_tokens_says_so(openai: AsyncOpenAI) -> None:
    (choice,) = (await ask(openai, max_tokens=1)).choices
    assert choice.finish_reason == "length"


async def test_stop_sequence_ends_a_streamed_answer_before_it(openai: AsyncOpenAI) -> None:
    whole = (await ask(openai)).choices[0].message.content or ""
    first, _, second = whole.partition(" ")
    stream: Any = await openai.chat.completions.create(
        model=MODEL, messages=[user(QUESTION)], stream=True, stop=second[:3]
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).rstrip() == first


async def test_search_takes_the_extensions_of_the_answer_route(openai: AsyncOpenAI) -> None:
    reply = await ask(openai, extra_body={"filter": {"bed": 2}, "passages": 1, "mode": "lexical"})
    hits = extension(reply)["hits"]
    assert {hit["document_id"] for hit in hits} <= {"снег"}


async def test_every_collection_is_listed_as_a_model(openai: AsyncOpenAI) -> None:
    listed = {model.id: model async for model in openai.models.list()}
    assert (listed[MODEL].model_extra or {})["kind"] == "collection"
    assert (await openai.models.retrieve(MODEL)).id == MODEL


ABSENT: list[tuple[dict[str, Any], str]] = [
    ({"model": "footnote:snow"}, "model"),
    ({"model": "footnote:"}, "model"),
    ({"model": "footnote-reader", "extra_body": {"collection": "snow"}}, "collection"),
    ({"model": "gpt-4o", "extra_body": {"collection": "garden"}}, "model"),
]
WITHOUT_EFFECT: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"presence_penalty": 1.0}, "presence_penalty"),
    ({"extra_body": {"guided_regex": "a"}}, "response_format"),
    ({"extra_body": {"no_repeat_ngram_size": 2}}, "no_repeat_ngram_size"),
    ({"extra_body": {"passages": 0}}, "passages"),
    ({"extra_body": {"collection": "snow"}}, "collection"),
    ({"messages": [{"role": "assistant", "content": "Yes"}]}, "messages[0].role"),
    ({"messages": [user("Hello"), user(" ")]}, "messages[1].content"),
]


async def test_collection_or_model_that_is_not_there_is_not_found(openai: AsyncOpenAI) -> None:
    for asked, param in ABSENT:
        with pytest.raises(NotFoundError) as refused:
            await ask(openai, **asked)
        assert (refused.value.param, refused.value.code) == (param, "model_not_found")


async def test_what_has_no_effect_on_a_collection_is_refused(openai: AsyncOpenAI) -> None:
    for asked, param in WITHOUT_EFFECT:
        with pytest.raises(BadRequestError) as refused:
            await ask(openai, **asked)
        assert refused.value.param == param


async def test_copying_decoder_that_is_asked_to_chat_names_the_ways_out(
    openai: AsyncOpenAI, bundled: GroundedReader
) -> None:
    with pytest.raises(BadRequestError, match=r"footnote:COLLECTION.*models convert") as refused:
        await ask(openai, model=bundled.model_id)
    assert refused.value.code == "no_chat_model"


async def test_every_question_leaves_its_place_in_the_queue(openai: AsyncOpenAI, resources: Any) -> None:
    for _ in range(20):
        with pytest.raises(BadRequestError):
            await ask(openai, extra_body={"filter": {"bed": {"$near": 1}}})
    assert resources.answers.in_flight == 0
    assert (await ask(openai)).choices
