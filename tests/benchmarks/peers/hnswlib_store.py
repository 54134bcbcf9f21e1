"""hnswlib as its README builds an index: M=16, ef_construction=200. Vectors only."""

from collections.abc import Iterator
from pathlib import Path

import hnswlib
from store_contract import ALLOWED_BUCKETS, BUCKETS, LIMIT, Corpus, Effort, Question

DIMENSION = 384


class Store:
    efforts = tuple({"ef": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))
    filtered_efforts = tuple({"ef": ef} for ef in (256, 512, 1_024, 2_048))
    finds_words = False

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._path, self._threads = str(folder / "index.bin"), threads
        self._index = hnswlib.Index("ip", DIMENSION)

    def fill(self, corpus: Corpus) -> Iterator[str]:
        self._index.init_index(len(corpus), M=16, ef_construction=200)
        self._index.add_items(corpus.vectors, num_threads=self._threads)
        self._index.save_index(self._path)
        yield "saved"

    def open(self) -> None:
        self._index.load_index(self._path)
        self._index.set_num_threads(1)

    def dense(self, question: Question, effort: Effort) -> list[int]:
        self._index.set_ef(effort["ef"])
        return self._index.knn_query(question.vector, LIMIT)[0][0].tolist()

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        self._index.set_ef(effort["ef"])
        labels, _ = self._index.knn_query(question.vector, LIMIT, filter=_allowed)
        return labels[0].tolist()

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        raise NotImplementedError("hnswlib knows no words")


def _allowed(label: int) -> bool:
    return label % BUCKETS < ALLOWED_BUCKETS
