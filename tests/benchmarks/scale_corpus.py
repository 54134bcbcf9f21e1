"""Up to a million distinct texts, recombined from the sentences of the public data, with their vectors.

The first `encoded` texts carry the bundled encoder's own vectors; the others the unit sum of the vectors of
their sentences, which lies where such a text lies (cosine to the encoder's own vector is measured and told).
Made once and kept under the workplace.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from generation.sentences import split_sentences
from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.texts import data_folder

CORPORA = ("scifact", "cranfield", "cacm")
QUESTIONS = ("nq_gold/dev.jsonl.gz", "squad/dev.jsonl.gz")
PASSAGES = ("squad/train.jsonl.gz", "nq_gold/train.jsonl.gz", "fairytaleqa/train.jsonl.gz")
SENTENCES_PER_TEXT = 3
SENTENCE_CHARS = (40, 240)
QUERIES = 1_000
SEED = 20_261_121


@dataclass(frozen=True, slots=True)
class ScaleCorpus:
    """members: (texts, SENTENCES_PER_TEXT) positions in `sentences`; vectors: (texts, dimension) float16.

    queries, query_vectors: held-out sentences that stand in no text. questions, question_vectors: people's
    questions, about as many from each set of QUESTIONS. agreement: mean cosine between the encoder's own
    vectors and the sums of sentences, over the texts that have both.
    """

    sentences: list[str]
    members: NDArray[np.int32]
    vectors: NDArray[np.float16]
    queries: list[str]
    query_vectors: NDArray[np.float32]
    questions: list[str]
    question_vectors: NDArray[np.float32]
    agreement: float

    def text(self, i: int) -> str:
        return " ".join(self.sentences[j] for j in self.members[i].tolist())


def load_corpus(texts: int, encoded: int = 100_000, workplace: Path = WORKPLACE) -> ScaleCorpus:
    """The first `texts` texts. Raises NoData without the folder of public data."""
    folder = workplace / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    sentences = _sentences()
    queries, sentences = sentences[:QUERIES], sentences[QUERIES:]
    encoder = Encoder.load(BUNDLED_ENCODER, threads=1)
    query_vectors = _cached(folder / "queries.npy", lambda: encoder.encode(queries, "query"))
    singles = _cached(folder / "sentences.npy", lambda: _encode(encoder, sentences))
    members = _members(len(sentences), texts)
    questions = _questions(data_folder())
    asked = _cached(folder / "questions.npy", lambda: encoder.encode(questions, "query"))
    vectors = _sums(singles, members)
    corpus = ScaleCorpus(sentences, members, vectors, queries, query_vectors, questions, asked, 0.0)
    known = min(encoded, texts)
    own = _cached(
        folder / f"texts-{known}.npy", lambda: _encode(encoder, [corpus.text(i) for i in range(known)])
    )
    agreement = float(np.mean(np.sum(own.astype(np.float32) * corpus.vectors[:known], axis=1)))
    corpus.vectors[:known] = own
    return replace(corpus, agreement=agreement)


def _questions(data: Path) -> list[str]:
    sets = [list(dict.fromkeys(row["question"] for row in _rows(data / name))) for name in QUESTIONS]
    return [question for pair in zip(*sets, strict=False) for question in pair]


def _sentences() -> list[str]:
    """Distinct sentences of the public data in a seeded order."""
    found = dict.fromkeys(
        sentence
        for text in _texts(data_folder())
        for sentence in _split(text)
        if SENTENCE_CHARS[0] <= len(sentence) <= SENTENCE_CHARS[1]
    )
    ordered = sorted(found)
    return [ordered[i] for i in np.random.default_rng(SEED).permutation(len(ordered)).tolist()]


def _split(text: str) -> list[str]:
    return [" ".join(text[start:end].split()) for start, end in split_sentences(text)]


def _texts(data: Path) -> Iterator[str]:
    for name in CORPORA:
        yield from (row["text"] for row in _rows(data / name / "corpus.jsonl.gz"))
    for name in PASSAGES:
        rows = _rows(data / name)
        yield from dict.fromkeys(row.get("context") or row.get("passage") or "" for row in rows)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _members(sentences: int, texts: int) -> NDArray[np.int32]:
    """(texts, SENTENCES_PER_TEXT) different rows; the first rows are the same for every number of texts."""
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, sentences, (int(texts * 1.1) + 1_000, SENTENCES_PER_TEXT), dtype=np.int32)
    _, first = np.unique(drawn, axis=0, return_index=True)
    return drawn[np.sort(first)[:texts]]


def _sums(singles: NDArray[np.float16], members: NDArray[np.int32]) -> NDArray[np.float16]:
    result = np.empty((len(members), singles.shape[1]), np.float16)
    for start in range(0, len(members), 50_000):
        total = singles[members[start : start + 50_000]].astype(np.float32).sum(axis=1)
        result[start : start + 50_000] = total / np.linalg.norm(total, axis=1, keepdims=True)
    return result


def _encode(encoder: Encoder, texts: Sequence[str]) -> NDArray[np.float16]:
    parts = []
    for start in range(0, len(texts), 4_096):
        parts.append(encoder.encode(texts[start : start + 4_096], "passage").astype(np.float16))
        print(f"{start + len(parts[-1])} of {len(texts)} texts encoded", flush=True)
    return np.concatenate(parts)


def _cached(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    if not path.is_file():
        np.save(path.with_suffix(".tmp.npy"), make())
        path.with_suffix(".tmp.npy").rename(path)
    kept: NDArray[Any] = np.load(path)
    return kept
