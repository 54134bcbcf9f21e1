"""Text in, vectors out, with ONNX Runtime and tokenizers only."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embeddings.artifact import GOLDEN, TOKENIZER, EncoderSpec, ModelManifest, load_manifest
from embeddings.batching import token_budget_batches
from embeddings.coverage import VocabularyCoverage
from embeddings.errors import ModelDamaged
from embeddings.golden import GoldenVectors, first_faithful
from embeddings.sessions import SessionOpener, open_session
from embeddings.tokens import (
    Keep,
    TextTokenizer,
    TokenIds,
    TokenizedText,
    read_tokenizer,
    without_surrogates,
)
from embeddings.vectors import unit_rows

# Rows times longest row of one run of the graph. What counts is that a layer's states stay near the
# processor: two threads with a session each gave 36.6k tokens a second with 256, 35.2k with 512, 31.8k with
# 1,024 and 29.9k with 2,048 (SciFact abstracts, all-MiniLM-L6-v2).
BATCH_TOKENS = 256


class Encoder:
    """An encoder session. Safe to share between threads: nothing changes after load."""

    def __init__(
        self, session: Any, tokenizer: Tokenizer, manifest: ModelManifest, spec: EncoderSpec, threads: int
    ) -> None:
        self._session = session
        self._tokenizer = TextTokenizer(tokenizer, spec.prompts, spec.max_tokens)
        self._coverage = VocabularyCoverage(tokenizer)
        self._threads = threads
        self.manifest = manifest
        self.spec = spec

    @classmethod
    def load(cls, directory: Path, threads: int = 1, opener: SessionOpener = open_session) -> Self:
        """Open a verified artifact directory and check what it gives against its golden vectors.

        threads: runs of the graph that `encode` keeps going at once, one a core; opener: what opens the
        graph.
        Raises ModelDamaged when a file differs from the manifest, the artifact is not an encoder, or this
        processor gives other vectors.
        """
        manifest = load_manifest(directory)
        if manifest.encoder is None:
            raise ModelDamaged(
                f"{directory} holds no encoder",
                found=f"a manifest of kind {manifest.kind!r} without an `encoder` section",
                expected="an encoder's manifest",
                next_step="point the setting at an encoder's directory",
            )
        path, spec = directory / manifest.weights, manifest.encoder
        tokenizer = read_tokenizer(directory / TOKENIZER)
        if GOLDEN not in manifest.files:  # nothing tells whether the usual products are right
            return cls(opener(path, True), tokenizer, manifest, spec, threads)
        return first_faithful(
            GoldenVectors.read(directory),
            directory,
            lambda exact: cls(opener(path, exact), tokenizer, manifest, spec, threads),
        )

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def dimension(self) -> int:
        return self.spec.dimension

    @property
    def max_tokens(self) -> int:
        return self.spec.max_tokens

    def tokenize(
        self, texts: Sequence[str], prompt: str = "passage", keep: Keep = "start"
    ) -> list[TokenizedText]:
        """What the graph gets to see of each text, and how long the text is.

        prompt: a name among the model's prompts, "query", "passage", or "" for none; keep: which end of an
        over-long text stays. Raises InvalidInput for an unknown prompt name.
        """
        return self._tokenizer.tokenize(texts, prompt, keep)

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        """Pooled rows (len(batch), dimension), not normalised, by one run of the graph without the GIL.

        The batch is padded to its longest row: give it rows of like length.
        """
        shape = (len(batch), max(len(ids) for ids in batch))
        input_ids, attention_mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, ids in enumerate(batch):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        rows: NDArray[np.float32] = self._session.run(None, feed)[0]
        return rows

    def encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """Encode texts to unit rows (len(texts), dimension), in the order given.

        Text above max_tokens loses its end: `tokenize` tells of which. For work outside the service, which
        goes through its queue.
        """
        token_ids = [text.ids for text in self.tokenize(texts, prompt)]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)

        def run(positions: list[int]) -> None:
            vectors[positions] = self.run([token_ids[position] for position in positions])

        batches = list(token_budget_batches([len(ids) for ids in token_ids], BATCH_TOKENS))
        if len(batches) == 1:  # a question: a thread of its own would take a tenth of the time
            run(batches[0])
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(run, batches))
        return unit_rows(vectors)

    def count_tokens(self, texts: Sequence[str], prompt: str = "passage") -> list[int]:
        """Tokens of each text with its prompt and the special tokens, before truncation."""
        return [text.count for text in self.tokenize(texts, prompt)]

    def vocabulary_coverage(self, text: str) -> float:
        """Share of the text's words that the tokenizer knows well, 0 to 1; low: out of its depth."""
        return self._coverage.share(without_surrogates(text))
