import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from embeddings.artifact import ArtifactFile, EncoderSpec, ModelManifest
from embeddings.tokens import Keep, TokenIds, TokenizedText

WORD = re.compile(r"\w+")


class HashingEncoder:
    """Texts that share words have vectors that point the same way; no model, no training.

    encoded: every text that was encoded as a passage, so that a test can tell what work was spared.
    """

    def __init__(self, model_id: str = "hashing@1", dimension: int = 32, max_tokens: int = 258) -> None:
        self.model_id = model_id
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.spec = EncoderSpec(dimension, max_tokens, pooling="mean")
        self.manifest = ModelManifest(
            name=model_id.partition("@")[0],
            kind="encoder",
            source="tests",
            licence="Apache-2.0",
            precision="fp32",
            files={"model.onnx": ArtifactFile(size_bytes=0, sha256="0" * 64)},
            encoder=self.spec,
        )
        self.encoded: list[str] = []

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> list[TokenizedText]:
        if prompt == "passage":
            self.encoded += texts
        return [
            self._fit(np.asarray(list(map(hash_word, WORD.findall(t.lower()))), np.int32), keep)
            for t in texts
        ]

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        return np.stack([self._bag_of_words(ids) for ids in batch])

    def vocabulary_coverage(self, text: str) -> float:
        return 1.0 if text.isascii() else 0.0

    def _fit(self, ids: TokenIds, keep: Keep) -> TokenizedText:
        kept = ids[: self.max_tokens] if keep == "start" else ids[-self.max_tokens :]
        return TokenizedText(kept, len(ids))

    def _bag_of_words(self, ids: TokenIds) -> NDArray[np.float32]:
        row = np.full(self.dimension, 1e-3, dtype=np.float32)
        for word in ids.tolist():
            row[word // 2 % self.dimension] += 1 if word % 2 else -1
        return row


def hash_word(word: str) -> int:
    digest = hashlib.sha256(word.encode()).digest()
    return 2 * digest[0] + digest[1] % 2


def write_word_tokenizer(folder: Path) -> Path:
    """A tokenizer.json that counts each word and each punctuation mark as one token."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path
