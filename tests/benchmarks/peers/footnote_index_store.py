"""Footnote's index in process, without SQL and HTTP. Variants: "" only. There is no effort to choose."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from store_contract import ALLOWED_BUCKETS, LIMIT, SEARCHABLE, Corpus, Effort, Question

from retrieval.builds.manifest import BuildOrigin
from retrieval.builds.sealing import SealOptions
from retrieval.filters import parse_filter
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.types import IndexedChunk, SearchMode

ORIGIN = BuildOrigin("0" * 32, 1, "stores", "stores")
BATCH = 4_000  # chunks that the service takes in at once
FILTER = parse_filter({"bucket": {"$lt": ALLOWED_BUCKETS}})


class Store:
    efforts = ({},)
    filtered_efforts = ({},)
    finds_words = True

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._folder, self._threads = folder, threads
        self._index: CollectionIndex | None = None

    def fill(self, corpus: Corpus) -> Iterator[str]:
        builds = self._workspace("builds")
        index = CollectionIndex(corpus.vectors.shape[1], self._workspace("first"))
        for batch in corpus.batches(BATCH):
            vectors = corpus.vectors[batch.start : batch.stop].astype(np.float16)
            chunks = [
                IndexedChunk(i, i, corpus.texts[i], vectors[i - batch.start], {"bucket": corpus.bucket(i)})
                for i in batch
            ]
            index.apply(chunks, (), batch.stop)
        yield SEARCHABLE
        index.seal(self._folder / "scratch", builds, ORIGIN, SealOptions(self._threads))
        yield "sealed"

    def open(self) -> None:
        (build,) = (self._folder / "builds").iterdir()
        self._index = CollectionIndex.open(build, self._workspace("second"))

    def dense(self, question: Question, effort: Effort) -> list[int]:
        return self._search(SearchRequest("", question.vector, SearchMode.DENSE, LIMIT))

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        return self._search(SearchRequest("", question.vector, SearchMode.DENSE, LIMIT, filter=FILTER))

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        return self._search(SearchRequest(question.text, question.vector, SearchMode.HYBRID, LIMIT))

    def _search(self, request: SearchRequest) -> list[int]:
        assert self._index is not None
        return [chunk.chunk_id for chunk in self._index.search(request).chunks]

    def _workspace(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder
