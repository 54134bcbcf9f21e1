"""txtai with texts and metadata in its SQLite, words and vectors indexed, and vectors that are given to it.

Variants: faiss, its default of inverted lists over float32; hnsw, its hnswlib graph. The number of lists,
neighbours and so on are txtai's own.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from store_contract import ALLOWED_BUCKETS, LIMIT, Corpus, Effort, Question
from txtai import Embeddings

SELECT = "select id, text, bucket, score from txtai where similar(:q"
LISTS = tuple({"nprobe": n} for n in (16, 32, 64, 96, 128, 192, 256, 384, 512, 768))
GRAPH = tuple({"efsearch": ef} for ef in (16, 32, 48, 64, 96, 128, 192, 256, 384, 512))
CANDIDATES = (1_000, 2_000, 4_000)


class Store:
    finds_words = True

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._path, self._variant = str(folder / "index"), variant
        self.efforts = LISTS if variant == "faiss" else GRAPH
        self.filtered_efforts = _filtered(variant)
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._embeddings: Any = None
        self._scoring: Any = None

    def fill(self, corpus: Corpus) -> Iterator[str]:
        self._vectors = dict(zip(corpus.texts, corpus.vectors, strict=True))
        self._embeddings = Embeddings(
            method="external",
            transform=self._transform(),
            content=True,
            hybrid=True,
            backend=self._variant,
        )
        documents = (
            (i, {"text": text, "bucket": corpus.bucket(i)}, None) for i, text in enumerate(corpus.texts)
        )
        self._embeddings.index(documents)
        yield "indexed"
        self._embeddings.save(self._path)
        yield "saved"

    def open(self) -> None:
        self._embeddings = Embeddings()
        self._embeddings.load(self._path, config={"transform": self._transform()})
        self._scoring = self._embeddings.scoring

    def dense(self, question: Question, effort: Effort) -> list[int]:
        return self._search(question, effort, f"{SELECT}, {LIMIT})", None)

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        statement = f"{SELECT}, {effort['candidates']}) and bucket < {ALLOWED_BUCKETS}"
        return self._search(question, effort, statement, None)

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        return self._search(question, effort, f"{SELECT})", self._scoring)

    def _search(self, question: Question, effort: Effort, statement: str, scoring: Any) -> list[int]:
        self._vectors[question.text] = question.vector
        self._embeddings.config[self._variant] = dict(effort)
        self._embeddings.ann.config[self._variant] = dict(effort)
        # Without its words the store searches by vectors alone; it has no other switch for that.
        self._embeddings.scoring = scoring
        found = self._embeddings.search(statement, LIMIT, parameters={"q": question.text})
        return [int(row["id"]) for row in found]

    def _transform(self) -> Callable[[Sequence[str]], NDArray[np.float32]]:
        # txtai calls whatever is not a plain function, such as a method, to get one.
        return lambda texts: np.stack([self._vectors[text] for text in texts])


def _filtered(variant: str) -> tuple[Effort, ...]:
    if variant == "faiss":
        return tuple({"nprobe": n, "candidates": c} for n in (64, 128, 256, 512, 768) for c in CANDIDATES)
    return tuple({"efsearch": c, "candidates": c} for c in CANDIDATES)
