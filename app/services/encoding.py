"""The encoder in service, for coroutines: everything that the service encodes goes through one queue."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from anyio import to_thread
from numpy.typing import NDArray

from embeddings.artifact import EncoderSpec, ModelManifest
from embeddings.engine import Embedded, EncoderEngine, Lane, TokenEncoder
from embeddings.stages import timed
from embeddings.tokens import Keep
from embeddings.vectors import check_dimensions, unit_rows

# Texts up to this much are a question or a few, some 6 ms of one core: they go with the queries, and may so
# keep the next one waiting for as long. More than this is bulk.
MAX_QUERY_LANE_TEXTS = 8
MAX_QUERY_LANE_CHARS = 500
# Rows that are scaled where they are, in a third of a millisecond; more would hold up the event loop.
MAX_ROWS_ON_LOOP = 128


class TextEncoder(TokenEncoder, Protocol):
    """What the service asks of an encoder: the ONNX one, or the hashing one of the tests. Thread-safe."""

    manifest: ModelManifest
    spec: EncoderSpec

    @property
    def model_id(self) -> str:
        """Name and weights; two models never share one."""

    def vocabulary_coverage(self, text: str) -> float:
        """Share of the words that the model knows, 0 to 1."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A question as a vector.

    vector: (dimension,) unit float32; coverage: share of the question's words that the encoder knows, 0 to 1;
    token_count: with prompt and special tokens; truncated: the model saw only the beginning of the question.
    """

    vector: NDArray[np.float32]
    coverage: float
    token_count: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class EncodedPassages:
    """vectors: (n, dimension) unit float16; truncated: texts of which the model saw only the beginning."""

    vectors: NDArray[np.float16]
    truncated: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """vectors: (n, dimensions asked for) float32; token_counts: before a text was cut; truncated: whether it
    was.
    """

    vectors: NDArray[np.float32]
    token_counts: tuple[int, ...]
    truncated: tuple[bool, ...]


class Encoding:
    """The encoder in service. A coroutine that is cancelled takes its texts out of the queue."""

    def __init__(self, encoder: TextEncoder, engine: EncoderEngine) -> None:
        self.encoder = encoder
        self.engine = engine

    @timed("encode")
    async def query(self, text: str) -> EncodedQuery:
        """Encode a question. Raises Overloaded."""
        running = asyncio.wrap_future(self.engine.submit([text], prompt="query", lane=Lane.QUERY))
        try:
            coverage = await self._coverage(text)
            embedded = await running
        finally:
            running.cancel()
        vector = unit_rows(embedded.vectors)[0]
        return EncodedQuery(vector, coverage, embedded.token_counts[0], embedded.truncated[0])

    async def _coverage(self, text: str) -> float:
        if len(text) <= MAX_QUERY_LANE_CHARS:  # a tenth of a millisecond, less than the way to a thread
            return self.encoder.vocabulary_coverage(text)
        return await to_thread.run_sync(self.encoder.vocabulary_coverage, text)

    @timed("encode_passages")
    async def passages(self, texts: Sequence[str]) -> EncodedPassages:
        """Encode the texts of chunks, which wait for their turn however many they are.

        Raises Overloaded when the service stops.
        """
        embedded = await asyncio.wrap_future(
            self.engine.submit(texts, prompt="passage", lane=Lane.BULK, refusable=False)
        )
        vectors = await to_thread.run_sync(half_unit_rows, embedded.vectors)
        return EncodedPassages(vectors, embedded.truncated)

    @timed("embed")
    async def embed(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        truncate: bool,
        keep: Keep = "start",
        dimensions: int | None = None,
        normalize: bool = True,
    ) -> EmbeddedTexts:
        """Encode what a client sent.

        truncate: whether an over-long text may lose what is not its `keep`; dimensions: None, the full
        length, or a smaller one that the model was trained for; normalize: to unit rows.
        Raises InvalidInput for another dimension or an unknown prompt, TextTooLong, and Overloaded.
        """
        check_dimensions(dimensions, self.encoder.spec)
        embedded = await asyncio.wrap_future(
            self.engine.submit(
                texts, prompt=prompt, lane=_lane(texts), keep=keep, refuse_truncation=not truncate
            )
        )
        vectors = await _finish(embedded, dimensions, normalize)
        return EmbeddedTexts(vectors, embedded.token_counts, embedded.truncated)


def _lane(texts: Sequence[str]) -> Lane:
    small = len(texts) <= MAX_QUERY_LANE_TEXTS and sum(map(len, texts)) <= MAX_QUERY_LANE_CHARS
    return Lane.QUERY if small else Lane.BULK


async def _finish(embedded: Embedded, dimensions: int | None, normalize: bool) -> NDArray[np.float32]:
    if not normalize:
        return embedded.vectors[:, :dimensions]
    if len(embedded.vectors) <= MAX_ROWS_ON_LOOP:
        return unit_rows(embedded.vectors, dimensions)
    return await to_thread.run_sync(unit_rows, embedded.vectors, dimensions)


def half_unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float16]:
    """Pooled rows (n, dimension) as they are kept: of length 1, in halves."""
    return unit_rows(vectors).astype(np.float16)
