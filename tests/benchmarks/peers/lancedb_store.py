"""LanceDB in process, with indexes on vectors, words and the metadata field.

Variants: hnsw, a graph over 8-bit values in one partition, as its documentation advises for a graph; pq,
inverted lists of product codes, its default kind, with a code for each eight dimensions. Both score the best
again with the stored vectors. `flat` as an effort searches without the index, which the documentation finds
good enough for up to 100,000 rows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
from lancedb.index import FTS, BTree, HnswSq, IvfPq
from lancedb.query import MatchQuery
from lancedb.rerankers import RRFReranker
from store_contract import ALLOWED_BUCKETS, LIMIT, SEARCHABLE, Corpus, Effort, Question

NAME = "stores"
FIELDS = ["id", "text", "bucket"]
BATCH = 50_000  # few large fragments
CODES = 48
FILTER = f"bucket < {ALLOWED_BUCKETS}"
FLAT = {"flat": True}
GRAPH = tuple(
    {"ef": ef, "refine_factor": refine}
    for refine, efs in ((1, (16, 32, 64, 128)), (2, (32, 64, 128)), (4, (64, 128, 256)))
    for ef in efs
)
LISTS = tuple(
    {"nprobes": probes, "refine_factor": refine} for refine in (5, 10, 20) for probes in (10, 20, 40, 80)
)


class Store:
    finds_words = True

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._variant = variant
        self.efforts = (GRAPH if variant == "hnsw" else LISTS) + (FLAT,)
        self.filtered_efforts = self.efforts
        self._database = lancedb.connect(folder)
        self._reranker = RRFReranker()
        self._table: Any = None

    def fill(self, corpus: Corpus) -> Iterator[str]:
        table = self._database.create_table(NAME, _batches(corpus), schema=_schema(corpus))
        yield SEARCHABLE
        table.create_index("vector", config=self._index())
        yield "vectors indexed"
        table.create_index("text", config=FTS(with_position=False))
        table.create_index("bucket", config=BTree())
        yield "words and metadata indexed"

    def _index(self) -> HnswSq | IvfPq:
        if self._variant == "hnsw":
            return HnswSq(distance_type="dot", num_partitions=1)
        return IvfPq(distance_type="dot", num_sub_vectors=CODES)

    def open(self) -> None:
        self._table = self._database.open_table(NAME)

    def dense(self, question: Question, effort: Effort) -> list[int]:
        return _ids(_with_effort(self._table.search(question.vector), effort))

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        query = self._table.search(question.vector).where(FILTER, prefilter=True)
        return _ids(_with_effort(query, effort))

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        # The words alone: a question in plain text may hold a quotation, which asks for a phrase.
        words = MatchQuery(question.text, "text")
        query = self._table.search(query_type="hybrid").vector(question.vector).text(words)
        return _ids(_with_effort(query, effort).rerank(self._reranker))


def _with_effort(query: Any, effort: Effort) -> Any:
    query = query.distance_type("dot")
    if "flat" in effort:
        return query.bypass_vector_index()
    for name, value in effort.items():
        query = getattr(query, name)(value)
    return query


def _ids(query: Any) -> list[int]:
    found = query.select(FIELDS).limit(LIMIT).to_arrow()
    return [row["id"] for row in found.to_pylist()]


def _schema(corpus: Corpus) -> pa.Schema:
    vector = pa.list_(pa.float32(), corpus.vectors.shape[1])
    return pa.schema([("id", pa.int64()), ("text", pa.string()), ("bucket", pa.int32()), ("vector", vector)])


def _batches(corpus: Corpus) -> Iterator[pa.RecordBatch]:
    schema = _schema(corpus)
    for batch in corpus.batches(BATCH):
        values = pa.array(corpus.vectors[batch.start : batch.stop].ravel())
        columns = [
            pa.array(batch, pa.int64()),
            pa.array(corpus.texts[batch.start : batch.stop]),
            pa.array([corpus.bucket(i) for i in batch], pa.int32()),
            pa.FixedSizeListArray.from_arrays(values, corpus.vectors.shape[1]),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
