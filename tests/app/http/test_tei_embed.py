import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from httpx import Response
from huggingface_hub import InferenceClient
from litestar import Litestar

from app.http.tei_embed import write_ranges
from app.resources import Models
from app.settings import Settings
from embeddings.encoder import Encoder
from embeddings.vectors import unit_rows
from tests.app.http.conftest import Client
from tests.app.http.embedding_clients import LONG, load_prompted_encoder, serve

TEXTS = ["When do I plant tomatoes?", "Когда сажать помидоры?", "什么时候种西红柿?"]


@pytest.fixture(scope="module")
def real_encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_prompted_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def models(models: Models, real_encoder: Encoder) -> Models:
    return replace(models, encoder=real_encoder)


@pytest.fixture
async def address(application: Litestar) -> AsyncIterator[str]:
    async with serve(application) as opened:
        yield opened


async def embed(client: Client, inputs: Any, **asked: Any) -> Response:
    return await client.post("/embed", json={"inputs": inputs, **asked})


def assert_refused(reply: Response, status: int, kind: str) -> str:
    """The message."""
    error = reply.json()
    assert (reply.status_code, error["error_type"]) == (status, kind), reply.text
    assert set(error) == {"error", "error_type"}
    message: str = error["error"]
    return message


@pytest.mark.parametrize("path", ["", "/embed"])
@pytest.mark.parametrize("text", TEXTS)
async def test_hugging_face_client_gets_the_encoders_vector(
    path: str, text: str, address: str, real_encoder: Encoder
) -> None:
    client = InferenceClient(f"{address}{path}")
    rows = await asyncio.to_thread(client.feature_extraction, text)
    np.testing.assert_allclose(rows, real_encoder.encode([text], ""), atol=1e-6)


async def test_hugging_face_client_compares_sentences(address: str, real_encoder: Encoder) -> None:
    client = InferenceClient(f"{address}/similarity")
    cosines = await asyncio.to_thread(client.sentence_similarity, TEXTS[0], ["planting tomatoes", "snow"])
    rows = real_encoder.encode([TEXTS[0], "planting tomatoes", "snow"], "")
    np.testing.assert_allclose(cosines, rows[1:] @ rows[0], atol=0.02)  # int8: the neighbours in a batch
    assert cosines[0] > cosines[1]


async def test_rows_have_length_one_unless_asked_otherwise(client: Client, real_encoder: Encoder) -> None:
    (unit,) = (await embed(client, "frost")).json()
    (raw,) = (await embed(client, ["frost"], normalize=False)).json()
    (text,) = real_encoder.tokenize(["frost"], "")
    np.testing.assert_allclose(raw, real_encoder.run([text.ids])[0], atol=1e-6)
    np.testing.assert_allclose(unit, unit_rows(np.array([raw], np.float32))[0], atol=1e-6)


async def test_prompt_and_dimensions_are_the_models(client: Client) -> None:
    prompted = (await embed(client, "frost", prompt_name="query", dimensions=64)).json()
    whole = (await embed(client, "query: frost")).json()
    np.testing.assert_allclose(prompted, unit_rows(np.array(whole, np.float32), 64), atol=1e-6)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"inputs": "a", "prompt_name": "title"}, "title"),
        ({"inputs": "a", "dimensions": 100}, "64"),
        ({"inputs": "a", "truncation_direction": "up"}, "truncation_direction"),
        ({"inputs": "a", "truncation": True}, "truncation"),
        ({"inputs": [5, 6]}, "token ids"),
        ({"inputs": [[5, 6]]}, r"inputs[0]"),
        ({"input": "a"}, "input"),
    ],
)
async def test_wrong_value_is_refused_in_teis_form(body: Any, named: str, client: Client) -> None:
    reply = await client.post("/embed", json=body)
    assert named in assert_refused(reply, 422, "Validation")


@pytest.mark.parametrize("inputs", ["", [], ["a", " "]])
async def test_nothing_to_embed_is_refused(inputs: Any, client: Client) -> None:
    assert "inputs" in assert_refused(await embed(client, inputs), 400, "Empty")


async def test_more_texts_than_one_request_takes_are_refused(client: Client) -> None:
    assert "2049" in assert_refused(await embed(client, ["a"] * 2049), 413, "Validation")
    inputs = {"source_sentence": "a", "sentences": ["a"] * 2048}
    reply = await client.post("/similarity", json={"inputs": inputs})
    assert "inputs.sentences" in assert_refused(reply, 413, "Validation")


async def test_over_long_text_is_refused_with_its_place_and_length(
    client: Client, real_encoder: Encoder
) -> None:
    (tokens,) = real_encoder.count_tokens([LONG], "")
    message = assert_refused(await embed(client, ["frost", LONG]), 413, "Validation")
    assert f"`inputs[1]` must have at most 256 tokens. Given: {tokens}" in message
    inputs = {"source_sentence": "a", "sentences": ["frost", LONG]}
    reply = await client.post("/similarity", json={"inputs": inputs})
    assert "inputs.sentences[1]" in assert_refused(reply, 413, "Validation")


@pytest.mark.parametrize(("direction", "keep"), [("Right", "start"), ("left", "end")])
async def test_cut_texts_are_named_in_a_header(
    direction: str, keep: Any, client: Client, real_encoder: Encoder
) -> None:
    long = f"first frost, {LONG} and snow at last"
    asked = {"truncate": True, "truncation_direction": direction}
    reply = await embed(client, [long, "frost", long, long], **asked)
    assert reply.headers["x-footnote-truncated"] == "0,2-3"
    read = 3 * real_encoder.max_tokens + real_encoder.count_tokens(["frost"], "")[0]
    assert reply.headers["x-compute-tokens"] == str(read)
    (text,) = real_encoder.tokenize([long], "", keep)
    alone = (await embed(client, long, **asked)).json()
    np.testing.assert_allclose(alone, unit_rows(real_encoder.run([text.ids])), atol=1e-6)


async def test_no_header_where_nothing_was_cut(client: Client) -> None:
    assert "x-footnote-truncated" not in (await embed(client, "frost", truncate=True)).headers


async def test_info_tells_the_manifest_and_the_limits(
    client: Client, real_encoder: Encoder, settings: Settings
) -> None:
    info = (await client.get("/info")).json()
    weights = real_encoder.manifest.files[real_encoder.manifest.weights]
    assert (info["model_id"], info["model_sha"]) == (real_encoder.model_id, weights.sha256)
    assert (info["served_model_name"], info["model_dtype"]) == ("all-MiniLM-L6-v2", "int8")
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (info["max_input_length"], info["max_client_batch_size"]) == (256, 2048)
    assert info["auto_truncate"] is False
    assert info["max_batch_tokens"] >= info["max_input_length"]
    limits = (info["max_concurrent_requests"], info["tokenization_workers"])
    assert limits == (settings.max_in_flight_searches, settings.threads)


async def test_health_is_answered_as_teis_clients_expect(client: Client) -> None:
    reply = await client.get("/health")
    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.parametrize(
    ("numbers", "written"),
    [([], ""), ([4], "4"), ([0, 1, 2], "0-2"), ([0, 2, 3, 7], "0,2-3,7"), (range(2048), "0-2047")],
)
def test_runs_of_numbers_are_written_short(numbers: Any, written: str) -> None:
    assert write_ranges(numbers) == written
