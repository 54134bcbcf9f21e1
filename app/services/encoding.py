"""Encoding beside the event loop: queries at once, passages in modest batches of which one runs at a time.

A query so never waits for more than the processor: at worst it shares the cores with one passage batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from embeddings.tokens import TokenizedText

# About 13,000 tokens, 0.6 s on two cores: short enough for cancellation and fair turns between two ingests.
PASSAGE_BATCH = 64
# More would only share the same cores; the rest wait in the order of arrival.
CONCURRENT_QUERIES = 4


class TextEncoder(Protocol):
    """What the service asks of an encoder: the ONNX one, or the hashing one of the tests. Thread-safe."""

    @property
    def model_id(self) -> str:
        """Name and weights; two models never share one."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model sees, special tokens included."""

    def encode(self, texts: Sequence[str], prompt: Literal["query", "passage"]) -> NDArray[np.float32]:
        """Unit rows (len(texts), dimension)."""

    def tokenize(self, texts: Sequence[str]) -> Sequence[TokenizedText]:
        """The token ids of each text, cut to what the model sees."""

    def vocabulary_coverage(self, text: str) -> float:
        """Share of the words that the model knows, 0 to 1."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """vector: (dimension,) unit float32; coverage: share of the question's words that the encoder knows, 0
    to 1.
    """

    vector: NDArray[np.float32]
    coverage: float


@dataclass(frozen=True, slots=True)
class EncodedPassages:
    """vectors: (n, dimension) unit float16; truncated: texts of which the model saw only the beginning."""

    vectors: NDArray[np.float16]
    truncated: tuple[bool, ...]


class Encoding:
    """The encoder in service, for coroutines."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self._queries = CapacityLimiter(CONCURRENT_QUERIES)
        self._passages = CapacityLimiter(1)

    async def query(self, text: str) -> EncodedQuery:
        """Encode a question."""
        return await to_thread.run_sync(self._encode_query, text, limiter=self._queries)

    async def passages(self, texts: Sequence[str]) -> EncodedPassages:
        """Encode the texts of chunks, one batch after the other."""
        vectors = np.empty((len(texts), self.encoder.dimension), dtype=np.float16)
        truncated: list[bool] = []
        for start in range(0, len(texts), PASSAGE_BATCH):
            batch = texts[start : start + PASSAGE_BATCH]
            encoded = await to_thread.run_sync(self._encode_batch, batch, limiter=self._passages)
            vectors[start : start + len(batch)] = encoded.vectors
            truncated += encoded.truncated
        return EncodedPassages(vectors, tuple(truncated))

    def _encode_query(self, text: str) -> EncodedQuery:
        return EncodedQuery(self.encoder.encode([text], "query")[0], self.encoder.vocabulary_coverage(text))

    def _encode_batch(self, texts: Sequence[str]) -> EncodedPassages:
        vectors = self.encoder.encode(texts, "passage").astype(np.float16)
        return EncodedPassages(vectors, tuple(text.truncated for text in self.encoder.tokenize(texts)))
