"""Readers that need no training of their own: the sentence of the passages that is most like the question."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from embeddings.encoder import Encoder
from generation.sampling import SamplingSettings
from generation.sentences import split_sentences
from generation.types import Passage, Reading
from retrieval.lexical import LexicalIndex, LexicalSnapshot
from retrieval.types import IndexedChunk

PASSAGE_LIMIT = 64


def reading_of(
    passage: Passage | None, start: int, end: int, sure: float, refuse_below: float | None
) -> Reading:
    """A span as a reading, or a refusal."""
    if passage is None or (refuse_below is not None and sure < refuse_below):
        return Reading(None, 0, 0, "", sure, 0, 0, "refused")
    return Reading(passage.number, start, end, passage.text[start:end], sure, 0, 0, "stop")


class BestSentence(ABC):
    """Answers with the best sentence; how sure it is of it is only good for ranking."""

    model_id = "best-sentence@baseline"
    passage_limit = PASSAGE_LIMIT

    @abstractmethod
    def score(self, question: str, sentences: tuple[str, ...]) -> Sequence[float]:
        """0 to 1 for each sentence, the best one highest."""

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        places = [(passage, span) for passage in passages for span in split_sentences(passage.text)]
        scores = self.score(question, tuple(passage.text[start:end] for passage, (start, end) in places))
        best = int(np.argmax(scores))
        passage, (start, end) = places[best]
        yield reading_of(passage, start, end, float(scores[best]), refuse_below)


class EncoderSentence(BestSentence):
    """Nearest by meaning: the cosine of the bundled encoder's vectors, moved to 0 to 1."""

    model_id = "encoder-sentence@baseline"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def score(self, question: str, sentences: tuple[str, ...]) -> Sequence[float]:
        asked = self._encoder.encode([question], "query")[0]
        rows = self._encoder.encode(list(sentences), "passage")
        return ((1 + rows @ asked) / 2).tolist()


class WordSentence(BestSentence):
    """Nearest by words: BM25 over the sentences, by the engine that searches collections."""

    model_id = "bm25-sentence@baseline"

    def score(self, question: str, sentences: tuple[str, ...]) -> Sequence[float]:
        index = _index_of(sentences)
        found = np.zeros(len(sentences))
        places, scores = index.search(index.analyse(question), len(sentences))
        found[places] = scores / (1 + scores)
        return found.tolist()


@lru_cache(maxsize=8)
def _index_of(sentences: tuple[str, ...]) -> LexicalSnapshot:
    """Kept for the next question to the same passage."""
    nothing = np.zeros(0, np.float16)
    chunks = (IndexedChunk(place, place, text, nothing, {}) for place, text in enumerate(sentences))
    return LexicalIndex().rewrite(chunks, (), ())
