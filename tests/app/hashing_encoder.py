import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from embeddings.tokens import TokenizedText

WORD = re.compile(r"\w+")


class HashingEncoder:
    """Texts that share words have vectors that point the same way; no model, no training.

    encoded: every text that was encoded as a passage, so that a test can tell what work was spared.
    """

    def __init__(self, model_id: str = "hashing@1", dimension: int = 32, max_tokens: int = 258) -> None:
        self.model_id = model_id
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], prompt: Literal["query", "passage"]) -> NDArray[np.float32]:
        if prompt == "passage":
            self.encoded += texts
        rows = np.stack([self._bag_of_words(text) for text in texts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        counts = [len(WORD.findall(text)) for text in texts]
        return [TokenizedText(np.zeros(min(n, self.max_tokens), np.int32), n) for n in counts]

    def vocabulary_coverage(self, text: str) -> float:
        return 1.0 if text.isascii() else 0.0

    def _bag_of_words(self, text: str) -> NDArray[np.float32]:
        row = np.full(self.dimension, 1e-3, dtype=np.float32)
        for word in WORD.findall(text.lower()):
            digest = hashlib.sha256(word.encode()).digest()
            row[digest[0] % self.dimension] += 1 if digest[1] % 2 else -1
        return row


def write_word_tokenizer(folder: Path) -> Path:
    """A tokenizer.json that counts each word and each punctuation mark as one token."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path
