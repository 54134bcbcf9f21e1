"""Chroma in process, with its own persistent client and its defaults for the graph (16 neighbours, 100
construction effort). It has no search by words that can be joined with that by vectors.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings
from store_contract import ALLOWED_BUCKETS, LIMIT, SEARCHABLE, Corpus, Effort, Question

NAME = "stores"
SETTINGS = Settings(anonymized_telemetry=False)
FIELDS = ["documents", "metadatas", "distances"]


class Store:
    efforts = tuple({"ef_search": ef} for ef in (32, 48, 64, 96, 128, 192, 256, 384, 512))
    filtered_efforts = tuple({"ef_search": ef} for ef in (64, 128, 256, 512))
    finds_words = False

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._threads = threads
        self._folder = str(folder)
        self._client = chromadb.PersistentClient(self._folder, SETTINGS)
        self._collection: Any = None
        self._effort: Effort = {}

    def fill(self, corpus: Corpus) -> Iterator[str]:
        # A graph that is written once at the end, not after each thousand vectors.
        graph = {"space": "ip", "num_threads": self._threads, "batch_size": 5_000}
        graph["sync_threshold"] = max(len(corpus), 1_000)
        collection = self._client.create_collection(
            NAME, configuration={"hnsw": graph}, embedding_function=None
        )
        for batch in corpus.batches(self._client.get_max_batch_size()):
            collection.add(
                ids=[str(i) for i in batch],
                embeddings=corpus.vectors[batch.start : batch.stop],
                documents=corpus.texts[batch.start : batch.stop],
                metadatas=[{"bucket": corpus.bucket(i)} for i in batch],
            )
        # A search takes in what the graph lacks of the log.
        collection.query(query_embeddings=corpus.vectors[:1], n_results=1)
        yield SEARCHABLE

    def open(self) -> None:
        self._collection = self._client.get_collection(NAME, embedding_function=None)

    def _reopen(self) -> None:
        """A graph that is open keeps the effort that it was opened with."""
        self._client.clear_system_cache()
        self._client = chromadb.PersistentClient(self._folder, SETTINGS)
        self.open()

    def dense(self, question: Question, effort: Effort) -> list[int]:
        return self._query(question, effort)

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        return self._query(question, effort, where={"bucket": {"$lt": ALLOWED_BUCKETS}})

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        raise NotImplementedError("Chroma in process has no hybrid search")

    def _query(self, question: Question, effort: Effort, **filter_: object) -> list[int]:
        if effort != self._effort:
            self._collection.modify(configuration={"hnsw": dict(effort)})
            self._reopen()
            self._effort = effort
        found = self._collection.query(
            query_embeddings=[question.vector], n_results=LIMIT, include=FIELDS, **filter_
        )
        return [int(each) for each in found["ids"][0]]
