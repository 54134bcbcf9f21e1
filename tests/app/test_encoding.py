import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from app.resources import Resources
from app.services.encoding import MAX_QUERY_LANE_CHARS, MAX_ROWS_ON_LOOP, Encoding
from app.services.types import DocumentInput, SearchInput
from embeddings.artifact import EncoderSpec
from embeddings.engine import EncoderEngine
from embeddings.errors import InvalidInput, Overloaded, TextTooLong
from embeddings.tokens import TokenIds
from embeddings.vectors import unit_rows
from tests.app.hashing_encoder import HashingEncoder
from tests.embeddings.gated_encoder import Gate

LONG = "word " * 300  # the hashing encoder sees 258


class HeldEncoder(HashingEncoder):
    """The hashing encoder, whose runs a gate can hold."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.spec = EncoderSpec(32, 258, pooling="mean", matryoshka_dimensions=(8,))
        self._gate = gate

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        self._gate(batch)
        return super().run(batch)


@asynccontextmanager
async def encoding_of(gate: Gate) -> AsyncIterator[Encoding]:
    """One worker a lane, and room for ten texts in each."""
    encoder = HeldEncoder(gate)
    engine = EncoderEngine(encoder, workers=1, max_waiting_texts=10, max_waiting_queries=10)
    yield Encoding(encoder, engine)
    gate.open()
    await asyncio.to_thread(engine.close)


@pytest.fixture
async def encoding() -> AsyncIterator[Encoding]:
    async with encoding_of(Gate(lambda _: False)) as encoding:
        yield encoding


async def wait_until_held(gate: Gate) -> None:
    await asyncio.to_thread(gate.wait_for_run)


async def test_query_has_a_unit_vector_and_says_what_was_seen(encoding: Encoding) -> None:
    short, long = await asyncio.gather(encoding.query("мороз и frost"), encoding.query(LONG))
    assert np.linalg.norm(short.vector) == pytest.approx(1)
    assert (short.coverage, short.token_count, short.truncated) == (0.0, 3, False)
    assert (long.coverage, long.token_count, long.truncated) == (1.0, 300, True)


async def test_passages_are_taken_however_many_they_are(encoding: Encoding) -> None:
    texts = [f"text number {number}" for number in range(50)]
    first, second = await asyncio.gather(encoding.passages(texts), encoding.passages([*texts, LONG]))
    assert first.vectors.dtype == np.float16
    np.testing.assert_array_equal(first.vectors, second.vectors[:-1])
    assert second.truncated == (*[False] * 50, True)


async def test_no_passage_is_no_vector(encoding: Encoding) -> None:
    assert (await encoding.passages([])).vectors.shape == (0, 32)


@pytest.mark.parametrize("count", [1, MAX_ROWS_ON_LOOP + 1])
async def test_embedded_rows_are_of_the_asked_form(count: int, encoding: Encoding) -> None:
    texts = [f"text number {number}" for number in range(count)]
    raw = await encoding.embed(texts, truncate=False, normalize=False)
    unit = await encoding.embed(texts, truncate=False)
    small = await encoding.embed(texts, truncate=False, dimensions=8)
    np.testing.assert_allclose(unit.vectors, unit_rows(raw.vectors))
    np.testing.assert_allclose(small.vectors, unit_rows(raw.vectors[:, :8]))
    assert np.linalg.norm(raw.vectors[0]) > 1.1
    assert raw.token_counts == (3,) * count


async def test_unknown_dimension_is_refused_with_those_there_are(encoding: Encoding) -> None:
    with pytest.raises(InvalidInput, match="32 or 8") as caught:
        await encoding.embed(["text"], truncate=True, dimensions=16)
    assert caught.value.field == "dimensions"


async def test_over_long_text_is_cut_only_when_asked(encoding: Encoding) -> None:
    with pytest.raises(TextTooLong):
        await encoding.embed(["short", LONG], truncate=False)
    assert (await encoding.embed(["short", LONG], truncate=True)).truncated == (False, True)


async def test_small_request_goes_with_the_queries() -> None:
    gate = Gate()
    async with encoding_of(gate) as encoding:
        large = asyncio.create_task(encoding.embed(["x" * (MAX_QUERY_LANE_CHARS + 1)], truncate=True))
        await wait_until_held(gate)
        small = asyncio.create_task(encoding.embed(["x"], truncate=True))
        await wait_until_held(gate)  # the large one is still being run, so the small one overtakes it
        gate.open()
        await asyncio.gather(large, small)


@pytest.mark.parametrize("kind", ["passages", "embed"])
async def test_cancelled_coroutine_takes_its_texts_out_of_the_queue(kind: str) -> None:
    texts, gate = ["text " * 200] * 9, Gate()
    async with encoding_of(gate) as encoding:
        running = asyncio.create_task(encoding.passages(["frost"]))
        await wait_until_held(gate)
        unwanted = asyncio.create_task(
            encoding.passages(texts) if kind == "passages" else encoding.embed(texts, truncate=True)
        )
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await encoding.embed(texts, truncate=True)
        unwanted.cancel()
        await asyncio.wait([unwanted])
        after = asyncio.create_task(encoding.embed(texts, truncate=True))
        gate.open()
        assert len((await after).vectors) == 9
        assert len((await running).vectors) == 1


async def test_search_says_that_the_query_was_cut(resources: Resources, notes: str) -> None:
    await resources.documents.add(notes, [DocumentInput("A word.", "a")])
    cut = await resources.search.search(notes, SearchInput(LONG))
    whole = await resources.search.search(notes, SearchInput("word"))
    assert (cut.query_truncated, whole.query_truncated) == (True, False)
    assert cut.hits[0].document_id == "a"


async def test_service_that_stops_refuses_queries(resources: Resources, notes: str) -> None:
    await asyncio.to_thread(resources.encoding.engine.close)
    with pytest.raises(Overloaded, match="stopping"):
        await resources.search.search(notes, SearchInput("word"))
