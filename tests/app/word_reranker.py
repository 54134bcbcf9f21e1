import re
from collections.abc import Sequence

import numpy as np

from embeddings.reranker import Scored, Scores, sigmoid

_WORD = re.compile(r"\w+")


class WordReranker:
    """The score is the number of the query's words that a text holds, less 1; no model, no training."""

    model_id = "words@1"

    def __init__(self, max_tokens: int = 40) -> None:
        self.max_tokens = max_tokens
        self.asked = 0

    def score_pairs(self, pairs: Sequence[tuple[str, str]], raw: bool = False) -> Scored:
        self.asked += len(pairs)
        counts = [self.count_tokens(query, text) for query, text in pairs]
        scores: Scores = np.array([_shared(query, text) - 1 for query, text in pairs], dtype=np.float32)
        truncated = tuple(count > self.max_tokens for count in counts)
        tokens = sum(min(count, self.max_tokens) for count in counts)
        return Scored(scores if raw else sigmoid(scores), tokens, truncated)

    def count_tokens(self, query: str, text: str) -> int:
        return len(_WORD.findall(query)) + len(_WORD.findall(text))

    def cut(self, text: str, max_tokens: int) -> str:
        return " ".join(_WORD.findall(text)[:max_tokens])


def _shared(query: str, text: str) -> int:
    return len(set(_WORD.findall(query.lower())) & set(_WORD.findall(text.lower())))
