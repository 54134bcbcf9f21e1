"""usearch with its own defaults for the graph, and vectors in float16, which its README advises."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from store_contract import LIMIT, Corpus, Effort, Question
from usearch.index import Index

DIMENSION = 384


class Store:
    efforts = tuple({"expansion": n} for n in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))
    filtered_efforts = ()
    finds_words = False

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._path, self._threads = str(folder / "index.usearch"), threads
        self._index = Index(ndim=DIMENSION, metric="ip", dtype="f16")

    def fill(self, corpus: Corpus) -> Iterator[str]:
        self._index.add(np.arange(len(corpus)), corpus.vectors, threads=self._threads)
        self._index.save(self._path)
        yield "saved"

    def open(self) -> None:
        self._index.load(self._path)

    def dense(self, question: Question, effort: Effort) -> list[int]:
        self._index.expansion_search = effort["expansion"]
        return self._index.search(question.vector, LIMIT, threads=1).keys.tolist()

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        raise NotImplementedError("usearch's Python interface has no filter")

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        raise NotImplementedError("usearch knows no words")
