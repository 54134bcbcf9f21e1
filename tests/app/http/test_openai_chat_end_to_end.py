"""A small random decoder, converted, served and asked by the official client."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from httpx import AsyncClient as Client
from litestar import Litestar
from openai import AsyncOpenAI, BadRequestError

from app.decoders import LoadedDecoder, load_decoder
from app.resources import Models
from app.settings import Settings
from generation.causal.engine import CausalEngine
from tests.app.http.chat_clients import official_client, user
from tests.app.http.embedding_clients import serve
from tests.training.causal_fixtures import learn_tokenizer, random_decoder, write_decoder
from training.causal_conversion import CausalConversion, convert_decoder
from training.causal_quantisation import Quantisation
from training.causal_source import read_causal_source
from training.encoder_origin import Provenance
from training.parity_texts import BUILT_IN

CONTEXT_TOKENS = 1024
PROMPT = "Plant tomatoes in"
CONVERSATION = [user("When do I plant tomatoes?")]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedDecoder]:
    root = tmp_path_factory.mktemp("decoder")
    source = write_decoder("qwen3", root / "source", max_position_embeddings=CONTEXT_TOKENS)
    conversion = CausalConversion(
        root / "tiny", Provenance("tiny", "made in a test", "Apache-2.0"), BUILT_IN, Quantisation("fp32")
    )
    convert_decoder(read_causal_source(source), conversion)
    loaded = load_decoder(Settings(decoder=root / "tiny", threads=1, decoder_slots=4))
    yield loaded
    assert loaded.engine is not None
    loaded.engine.close()


@pytest.fixture
def engine(decoder: LoadedDecoder) -> CausalEngine:
    assert decoder.engine is not None
    return decoder.engine


@pytest.fixture
def models(models: Models, decoder: LoadedDecoder) -> Models:
    return replace(
        models, answerer=decoder.answerer, chat=decoder.chat, answers_at_once=2, engine=decoder.engine
    )


@pytest.fixture
async def openai(garden: str, client: Client, application: Litestar) -> AsyncIterator[AsyncOpenAI]:
    async with official_client(application) as opened:
        yield opened


async def text_of(openai: AsyncOpenAI, **asked: Any) -> str:
    reply: Any = await openai.chat.completions.create(
        **{"model": "tiny", "messages": CONVERSATION, "max_tokens": 24} | asked
    )
    return str(reply.choices[0].message.content)


def original_continuation(prompt: str, tokens: int) -> str:
    """What transformers writes, greedily."""
    tokenizer = learn_tokenizer()
    ids = torch.tensor([tokenizer.encode(prompt)])
    model = random_decoder("qwen3", max_position_embeddings=CONTEXT_TOKENS)
    with torch.no_grad():
        written = model.generate(ids, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(written[0][ids.shape[1] :], skip_special_tokens=True))


async def test_completion_is_what_transformers_writes(openai: AsyncOpenAI) -> None:
    reply = await openai.completions.create(model="tiny", prompt=PROMPT, max_tokens=24)
    assert reply.choices[0].text == original_continuation(PROMPT, 24)


async def test_stream_and_reply_say_the_same_and_count_the_same(openai: AsyncOpenAI) -> None:
    asked: Any = {
        "model": "tiny", "messages": CONVERSATION, "max_tokens": 24, "temperature": 1.0, "seed": 5, "n": 2,
        "logprobs": True, "top_logprobs": 3,
    }  # fmt: skip
    reply = await openai.chat.completions.create(**asked)
    stream = await openai.chat.completions.create(**asked, stream=True)
    texts = {0: "", 1: ""}
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == {choice.index: choice.message.content for choice in reply.choices}
    assert texts[0] != texts[1]
    tokens = [token for choice in reply.choices for token in choice.logprobs.content]
    assert len(tokens) == reply.usage.completion_tokens
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)


async def test_requests_that_run_together_write_what_each_writes_alone(openai: AsyncOpenAI) -> None:
    questions = [
        [user(f"When do I plant {plant}?")] for plant in ("tomatoes", "дыни", "西红柿", "peas", "kale")
    ]
    alone = [await text_of(openai, messages=question) for question in questions]
    together = await asyncio.gather(*(text_of(openai, messages=question) for question in questions))
    assert together == alone


async def test_formats_hold_whatever_the_decoder_would_write(openai: AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"month": {"enum": ["May", "июнь"]}},
        "required": ["month"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "date", "schema": schema}}
    assert json.loads(await text_of(openai, response_format=form, max_tokens=100))["month"] in {"May", "июнь"}
    assert await text_of(openai, extra_body={"guided_choice": ["да", "нет"]}) in {"да", "нет"}
    assert (await text_of(openai, extra_body={"guided_regex": "[0-9]{4}"})).isdecimal()


async def test_bad_schema_and_bad_pattern_are_the_clients_fault(openai: AsyncOpenAI) -> None:
    for asked in ({"guided_json": {"type": "nonsense"}}, {"guided_regex": "("}):
        with pytest.raises(BadRequestError):
            await text_of(openai, extra_body=asked)


async def test_stop_sequence_ends_the_text_before_it(openai: AsyncOpenAI) -> None:
    whole = await text_of(openai)
    stop = whole[5:8]
    assert await text_of(openai, stop=stop) == whole[: whole.index(stop)]


async def test_beams_come_best_first(openai: AsyncOpenAI) -> None:
    asked: Any = {"model": "tiny", "prompt": PROMPT, "max_tokens": 6, "n": 2}
    reply = await openai.completions.create(**asked, extra_body={"use_beam_search": True, "best_of": 4})
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert reply.choices[0].text != reply.choices[1].text


async def test_prompt_longer_than_the_context_is_refused_with_both_numbers(
    openai: AsyncOpenAI, engine: CausalEngine
) -> None:
    long = [user("frost " * CONTEXT_TOKENS)]
    for stream in (False, True):
        with pytest.raises(BadRequestError, match=str(CONTEXT_TOKENS)) as refused:
            await openai.chat.completions.create(model="tiny", messages=long, stream=stream)
        assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
    assert engine.statistics().active == 0


async def until(condition: Callable[[], bool]) -> None:
    """Look until it holds: the engine's thread tells nobody when a slot is free."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_frees_its_slots(
    stream: bool, application: Litestar, engine: CausalEngine
) -> None:
    body = {"model": "tiny", "messages": CONVERSATION, "ignore_eos": True, "max_tokens": 900, "n": 4}
    async with serve(application) as address, Client() as client:
        url = address + "/v1/chat/completions"
        asking = asyncio.create_task(client.post(url, json=body | {"stream": stream}, timeout=60))
        await until(lambda: engine.statistics().active > 0)
        asking.cancel()
        await until(lambda: engine.statistics().active == 0)
    assert engine.statistics().free_slots == 4


async def test_collection_is_answered_by_the_same_decoder(openai: AsyncOpenAI) -> None:
    reply: Any = await openai.chat.completions.create(model="footnote:garden", messages=CONVERSATION)
    told = reply.model_extra["footnote"]
    assert told["model"].startswith("tiny@")
    for annotation in reply.choices[0].message.annotations:
        assert annotation.model_extra["footnote"]["quote"]
    assert told["status"] in {"answered", "not_found"}
    assert reply.usage.prompt_tokens > 0


async def test_decoder_is_listed_beside_the_collections(openai: AsyncOpenAI) -> None:
    kinds = {model.id.partition("@")[0]: model.model_extra["kind"] async for model in openai.models.list()}
    assert (kinds["tiny"], kinds["footnote:garden"]) == ("decoder", "collection")
