"""Text in, unit vectors out, with ONNX Runtime and tokenizers only."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embeddings.artifact import TOKENIZER, EncoderSpec, ModelManifest, load_manifest
from embeddings.batching import token_budget_batches
from embeddings.coverage import VocabularyCoverage
from embeddings.errors import ModelDamaged

PromptName = Literal["query", "passage"]

# Rows times longest row of one run of the graph. For MiniLM on two threads, 128 texts of 17,664 tokens took
# as long at any budget from 512 to 4,096, but the process peaked at 156 MB resident with 1,024, 199 MB with
# 2,048 and 280 MB with 4,096.
BATCH_TOKENS = 2_048
# Texts tokenised at a time: a tokenizer's result is some 50 times larger than the ids kept of it.
_TOKENIZER_WINDOW = 512
_SURROGATES = re.compile("[\ud800-\udfff]")


class Encoder:
    """An encoder session. Safe to share between threads: nothing changes after load."""

    def __init__(
        self, session: Any, tokenizer: Tokenizer, manifest: ModelManifest, spec: EncoderSpec
    ) -> None:
        self._session = session
        self._counter = tokenizer
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.enable_truncation(spec.max_tokens)
        self._coverage = VocabularyCoverage(tokenizer)
        self._spec = spec
        self.manifest = manifest

    @classmethod
    def load(cls, directory: Path, threads: int = 1) -> Self:
        """Open a verified artifact directory. threads: CPU threads of one run of the graph.

        Raises ModelDamaged when a file differs from the manifest or the artifact is not an encoder.
        """
        manifest = load_manifest(directory)
        if manifest.encoder is None:
            raise ModelDamaged(
                f"{directory} holds no encoder",
                found=f"a manifest of kind {manifest.kind!r} without an `encoder` section",
                expected="an encoder's manifest",
                next_step="point the setting at an encoder's directory",
            )
        session = _open_session(directory / manifest.weights, threads)
        return cls(session, _read_tokenizer(directory / TOKENIZER), manifest, manifest.encoder)

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def dimension(self) -> int:
        return self._spec.dimension

    @property
    def max_tokens(self) -> int:
        return self._spec.max_tokens

    def encode(self, texts: Sequence[str], prompt: PromptName) -> NDArray[np.float32]:
        """Encode texts to unit rows (len(texts), dimension), in the order given.

        Text above max_tokens loses its end; `truncated` tells. Rows depend a little on their batch, because
        an int8 graph scales activations over the whole batch: the manifest's parity says how much.
        """
        token_ids = self._tokenize(texts, prompt)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for positions in token_budget_batches([len(ids) for ids in token_ids], BATCH_TOKENS):
            vectors[positions] = self._run([token_ids[position] for position in positions])
        return vectors

    def count_tokens(self, texts: Sequence[str], prompt: PromptName = "passage") -> list[int]:
        """Tokens of each text with its prompt and the special tokens, before truncation."""
        counts: list[int] = []
        for window in _windows(self._prompted(texts, prompt)):
            counts += [len(encoding) for encoding in self._counter.encode_batch_fast(window)]
        return counts

    def truncated(self, texts: Sequence[str], prompt: PromptName = "passage") -> list[bool]:
        """Whether `encode` drops the end of each text."""
        return [count > self.max_tokens for count in self.count_tokens(texts, prompt)]

    def vocabulary_coverage(self, text: str) -> float:
        """Share of the text's words that the tokenizer knows well, 0 to 1; low: out of its depth."""
        return self._coverage.share(_without_surrogates(text))

    def _tokenize(self, texts: Sequence[str], prompt: PromptName) -> list[NDArray[np.int32]]:
        token_ids: list[NDArray[np.int32]] = []
        for window in _windows(self._prompted(texts, prompt)):
            encodings = self._tokenizer.encode_batch_fast(window)
            token_ids += [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
        return token_ids

    def _prompted(self, texts: Sequence[str], prompt: PromptName) -> list[str]:
        prefix = self._spec.prompts.query if prompt == "query" else self._spec.prompts.passage
        return [prefix + _without_surrogates(text) for text in texts]

    def _run(self, token_ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """One batch through the graph: (rows, dimension)."""
        shape = (len(token_ids), max(len(ids) for ids in token_ids))
        input_ids, attention_mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        vectors: NDArray[np.float32] = self._session.run(None, feed)[0]
        return vectors


def _open_session(path: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The memory arena stays on: without it the peak was 441 MB instead of 199. Threads that spin while they
    # wait took 40 % of the CPU time from everybody else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _read_tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _windows(texts: list[str]) -> list[list[str]]:
    return [texts[start : start + _TOKENIZER_WINDOW] for start in range(0, len(texts), _TOKENIZER_WINDOW)]


def _without_surrogates(text: str) -> str:
    """Lone surrogates, which no UTF-8 can carry and the tokenizer refuses, become U+FFFD; lengths stay."""
    return _SURROGATES.sub("\ufffd", text)
