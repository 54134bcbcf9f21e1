import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import numpy as np
import pytest
from litestar import Litestar
from numpy.typing import NDArray
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from app.http.embedding_json import encode_array
from app.resources import Models
from embeddings.encoder import Encoder
from embeddings.vectors import unit_rows
from tests.app.http.conftest import LOOPBACK, Client
from tests.app.http.embedding_clients import LONG, load_prompted_encoder, serve

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["When do I plant tomatoes?", "Когда сажать помидоры?", "什么时候种西红柿?"]


@pytest.fixture(scope="module")
def real_encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_prompted_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def models(models: Models, real_encoder: Encoder) -> Models:
    return replace(models, encoder=real_encoder)


@pytest.fixture
async def openai(client: Client, application: Litestar) -> AsyncIterator[AsyncOpenAI]:
    """The official client, which asks for base64 unless told otherwise."""
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(application))
    async with AsyncOpenAI(
        api_key="none", base_url=f"{LOOPBACK}/v1", max_retries=0, http_client=http
    ) as opened:
        yield opened


async def embed(openai: AsyncOpenAI, texts: str | list[str], **asked: Any) -> NDArray[np.float32]:
    """Rows (n, dimension)."""
    reply = await openai.embeddings.create(input=texts, model=MODEL, **asked)
    assert [item.index for item in reply.data] == list(range(len(reply.data)))
    return np.array([item.embedding for item in reply.data], dtype=np.float32)


@pytest.mark.parametrize("text", TEXTS)
async def test_vector_is_the_encoders(text: str, openai: AsyncOpenAI, real_encoder: Encoder) -> None:
    (row,) = await embed(openai, text)
    np.testing.assert_allclose(row, real_encoder.encode([text], "")[0], atol=1e-6)


async def test_numbers_and_base64_are_the_same_vectors(openai: AsyncOpenAI, client: Client) -> None:
    numbers = await embed(openai, TEXTS, encoding_format="float")
    body = {"input": TEXTS, "model": MODEL, "encoding_format": "base64"}
    items = (await client.post("/v1/embeddings", json=body)).json()["data"]
    packed = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in items]
    assert np.array_equal(np.stack(packed), numbers)


async def test_rows_come_in_the_order_of_the_texts(openai: AsyncOpenAI, real_encoder: Encoder) -> None:
    texts = [*TEXTS, "snow " * 100, "frost", *[f"bed number {number}" for number in range(100)]]
    alone = np.concatenate([real_encoder.encode([text], "") for text in texts])
    rows = await embed(openai, texts)
    assert np.argmax(rows @ alone.T, axis=1).tolist() == list(range(len(texts)))


async def test_other_requests_get_their_turn_while_a_large_reply_is_written() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    written = await encode_array(2048, lambda part: list(range(2048))[part])
    others.cancel()
    assert msgspec.json.decode(bytes(written)) == list(range(2048))
    assert turns >= 32


async def test_synchronous_client_is_served_over_a_socket(
    application: Litestar, real_encoder: Encoder
) -> None:
    async with serve(application) as address:
        with OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
            reply = await asyncio.to_thread(client.embeddings.create, input=TEXTS[0], model=MODEL)
    assert reply.model == real_encoder.model_id
    np.testing.assert_allclose(reply.data[0].embedding, real_encoder.encode(TEXTS[:1], "")[0], atol=1e-6)


async def test_usage_counts_the_encoders_tokens(openai: AsyncOpenAI, real_encoder: Encoder) -> None:
    reply = await openai.embeddings.create(input=TEXTS, model=MODEL)
    expected = sum(real_encoder.count_tokens(TEXTS, ""))
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (expected, expected)


@pytest.mark.parametrize("role", ["query", "passage"])
async def test_input_type_puts_the_models_prompt_before_the_text(role: str, openai: AsyncOpenAI) -> None:
    prompted = await embed(openai, "frost", extra_body={"input_type": role})
    assert np.array_equal(prompted, await embed(openai, f"{role}: frost"))
    assert not np.array_equal(prompted, await embed(openai, "frost"))


@pytest.mark.parametrize("dimensions", [384, 128, 64])
async def test_dimensions_the_model_was_trained_for_are_given(dimensions: int, openai: AsyncOpenAI) -> None:
    whole, cut = await embed(openai, "frost"), await embed(openai, "frost", dimensions=dimensions)
    np.testing.assert_allclose(cut, unit_rows(whole, dimensions), atol=1e-6)


@pytest.mark.parametrize("dimensions", [100, 385, 0, -1])
async def test_other_dimensions_are_refused_with_those_there_are(
    dimensions: int, openai: AsyncOpenAI
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await embed(openai, "frost", dimensions=dimensions)
    assert refused.value.param == "dimensions"
    assert all(allowed in refused.value.message for allowed in ["64", "128", "384"])


@pytest.mark.parametrize(
    ("given", "param"), [([101, 102], "input"), ([[101, 102], [103]], "input[0]"), (["a", [5]], "input[1]")]
)
async def test_token_ids_are_refused_with_the_way_out(given: Any, param: str, openai: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match="check_embedding_ctx_length=False") as refused:
        await embed(openai, given)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("given", "param"),
    [("", "input"), ("\n", "input"), ([], "input"), (["a", ""], "input[1]"), (["a", "b", "　"], "input[2]")],
)
async def test_nothing_to_embed_is_refused(given: Any, param: str, openai: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        await embed(openai, given)
    assert (refused.value.param, refused.value.code) == (param, "empty_input")


async def test_more_inputs_than_one_request_takes_are_refused(openai: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match=r"2049 items.*2048") as refused:
        await embed(openai, ["a"] * 2049)
    assert refused.value.param == "input"


async def test_over_long_text_is_refused_in_openais_words(openai: AsyncOpenAI, real_encoder: Encoder) -> None:
    (tokens,) = real_encoder.count_tokens([LONG], "")
    expected = f"maximum context length is 256 tokens, however you requested {tokens} tokens in input\\[1\\]"
    with pytest.raises(BadRequestError, match=expected) as refused:
        await embed(openai, ["frost", LONG])
    assert (refused.value.param, refused.value.code) == ("input[1]", "context_length_exceeded")


@pytest.mark.parametrize(("truncate", "keep"), [("end", "start"), ("start", "end")])
async def test_cut_text_is_named_and_only_what_was_read_is_counted(
    truncate: str, keep: Any, openai: AsyncOpenAI, real_encoder: Encoder
) -> None:
    long = f"first frost, {LONG} and snow at last"
    reply = await openai.embeddings.create(input=[long], model=MODEL, extra_body={"truncate": truncate})
    (text,) = real_encoder.tokenize([long], "", keep)
    expected = unit_rows(real_encoder.run([text.ids]))[0]
    np.testing.assert_allclose(reply.data[0].embedding, expected, atol=1e-6)
    assert (reply.model_extra or {})["truncated"] == [0]
    assert reply.usage.prompt_tokens == real_encoder.max_tokens


async def test_reply_says_that_nothing_was_cut_where_cutting_was_allowed(openai: AsyncOpenAI) -> None:
    allowed = await openai.embeddings.create(input=["a"], model=MODEL, extra_body={"truncate": "end"})
    plain = await openai.embeddings.create(input=["a"], model=MODEL)
    assert (allowed.model_extra, plain.model_extra) == ({"truncated": []}, {})


async def test_full_id_and_unused_user_are_accepted(openai: AsyncOpenAI, real_encoder: Encoder) -> None:
    reply = await openai.embeddings.create(input="a", model=real_encoder.model_id, user="somebody")
    assert reply.model == real_encoder.model_id


@pytest.mark.parametrize("model", ["text-embedding-3-small", f"{MODEL}@0123456789ab", "span", ""])
async def test_other_model_is_not_found_and_the_served_one_named(
    model: str, openai: AsyncOpenAI, real_encoder: Encoder
) -> None:
    with pytest.raises(NotFoundError, match=real_encoder.model_id) as refused:
        await openai.embeddings.create(input="a", model=model)
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize(
    ("field", "value"), [("dimension", 64), ("encoding_format", "hex"), ("truncate", True), ("input", 5)]
)
async def test_unknown_field_or_wrong_value_is_refused_by_name(
    field: str, value: Any, openai: AsyncOpenAI
) -> None:
    with pytest.raises(BadRequestError) as refused:
        await embed(openai, "a", extra_body={field: value})
    assert (refused.value.param, refused.value.type) == (field, "invalid_request_error")


async def test_models_in_service_are_listed_and_shown(openai: AsyncOpenAI, real_encoder: Encoder) -> None:
    listed = (await openai.models.list()).data
    assert [model.id for model in listed] == [real_encoder.model_id, "span@1"]
    assert all(model.object == "model" and model.created > 1_600_000_000 for model in listed)
    extensions = listed[0].model_extra
    assert extensions == {"kind": "encoder", "dimensions": [384, 128, 64], "max_tokens": 256}
    for wanted in [real_encoder.model_id, MODEL]:
        assert await openai.models.retrieve(wanted) == listed[0]
    with pytest.raises(NotFoundError, match=r"span@1") as refused:
        await openai.models.retrieve("gpt-4o/mini")
    assert refused.value.code == "model_not_found"
