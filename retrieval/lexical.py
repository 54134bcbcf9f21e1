"""BM25 over chunk terms: tantivy, in memory or in a folder.

One writer; readers hold point-in-time snapshots.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tantivy
from numpy.typing import NDArray

from retrieval.analysis import terms
from retrieval.bm25 import QueryTerm, counted, query_terms, telling_terms
from retrieval.types import IndexedChunk

WRITER_MEMORY_BYTES = 15_000_000  # tantivy's minimum for one thread; larger only means fewer, larger segments
# Up to so many allowed chunks are named in the query (3 ms a thousand); more are looked for in a deeper
# ranking.
MAX_LISTED_CHUNKS = 4_096
# Of so many chunks candidates are found by the query's telling words (retrieval.bm25). The common ones take
# most of the time: of a question to a million chunks 14 ms of 16. The ten best chunks by all words are 99.5 %
# among the 100 best by those, and no nDCG@10 of the sets in retrieval/fusion.py is another.
MANY_CHUNKS = 50_000


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("chunk", indexed=True, fast=True)
    builder.add_unsigned_field("document", indexed=True)
    builder.add_text_field("body", tokenizer_name="whitespace", index_option="freq")
    return builder.build()


SCHEMA = _schema()
# Files that tantivy replaces as a whole; all others it writes once and never touches again.
_REPLACED_FILES = ("meta.json", ".managed.json")


@dataclass(frozen=True, slots=True)
class AllowedChunks:
    """Which chunks may be found.

    listed: gives their ids, ascending; passes: turns (n,) ids of live chunks into (n,) flags.
    """

    count: int
    listed: Callable[[], NDArray[np.int64]]
    passes: Callable[[NDArray[np.int64]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class LexicalSnapshot:
    """The lexical index as it was at one commit; safe to search from any thread."""

    searcher: tantivy.Searcher

    def analyse(self, query: str) -> list[QueryTerm]:
        """The distinct terms of a query that the index knows, rarest first, at most MAX_QUERY_TERMS."""
        counts = counted(terms(query))
        return query_terms(counts, {text: self.searcher.doc_freq("body", text) for text in counts})

    def search(
        self, query: Sequence[QueryTerm], depth: int, allowed: AllowedChunks | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Chunk ids and BM25 scores of the best `depth` chunks that hold a word of the query; best first,
        ties by id.

        allowed: None for all. It changes no score.
        """
        depth = min(depth, self.searcher.num_docs if allowed is None else allowed.count)
        if depth < 1 or not query:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if allowed is None:
            return self._collect(_bm25_query(query, None), depth)
        if allowed.count <= MAX_LISTED_CHUNKS:
            return self._collect(_bm25_query(query, allowed.listed()), depth)
        return self._search_until_full(_bm25_query(query, None), depth, allowed)

    def candidates(
        self, query: Sequence[QueryTerm], depth: int, allowed: AllowedChunks | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What `search` returns; of MANY_CHUNKS or more the best of those that the telling words find."""
        chunks = self.searcher.num_docs
        telling = telling_terms(query, chunks) if chunks >= MANY_CHUNKS else query
        chunk_ids, scores = self.search(telling, depth, allowed)
        return (chunk_ids, scores) if len(telling) == len(query) else self.scores(query, chunk_ids)

    def scores(
        self, query: Sequence[QueryTerm], chunk_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of these chunks that hold a word of the query, and their BM25 scores; best first."""
        if not query or not len(chunk_ids):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        chunk_ids, scores = self._collect(_listed_query(query, chunk_ids), len(chunk_ids))
        return chunk_ids[scores > 0], scores[scores > 0]

    def _search_until_full(
        self, query: tantivy.Query, depth: int, allowed: AllowedChunks
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Look ever deeper, until `depth` allowed chunks were seen or nothing is left."""
        total = self.searcher.num_docs
        looked = depth * total // allowed.count + depth
        while True:
            chunk_ids, scores = self._collect(query, looked)
            passed = allowed.passes(chunk_ids)
            if np.count_nonzero(passed) >= depth or len(chunk_ids) < looked:
                return chunk_ids[passed][:depth], scores[passed][:depth]
            looked *= 4

    def _collect(self, query: tantivy.Query, depth: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        hits = self.searcher.search(query, depth, count=False).hits
        values = self.searcher.fast_field_values("chunk", [address for _, address in hits])
        chunk_ids = np.array(values, np.int64)
        scores = np.array([score for score, _ in hits], np.float32)
        order = np.lexsort((chunk_ids, -scores))
        return chunk_ids[order], scores[order]


def _listed_query(query: Iterable[QueryTerm], chunk_ids: NDArray[np.int64]) -> tantivy.Query:
    """These chunks with their scores, also those that hold no word.

    Each word is looked up in the chunks by itself. As one disjunction the words would be read in blocks of
    4,096 chunks around each.
    """
    scored = _unscored(chunk_ids)
    for term in query:
        word = (tantivy.Occur.Should, _term_query(term))
        scored = tantivy.Query.boolean_query([(tantivy.Occur.Must, scored), word])
    return scored


def _bm25_query(query: Iterable[QueryTerm], allowed: NDArray[np.int64] | None) -> tantivy.Query:
    words = tantivy.Query.boolean_query([(tantivy.Occur.Should, _term_query(term)) for term in query])
    if allowed is None:
        return words
    return tantivy.Query.boolean_query(
        [(tantivy.Occur.Must, words), (tantivy.Occur.Must, _unscored(allowed))]
    )


def _unscored(chunk_ids: NDArray[np.int64]) -> tantivy.Query:
    """These chunks, with score 0."""
    # Not term_set_query: 200 chunks of a million take it 2.2 ms, and 0.5 ms so; 4,096 take it 27 ms, and 13.
    singles = (tantivy.Query.term_query(SCHEMA, "chunk", each, "basic") for each in chunk_ids.tolist())
    listed = tantivy.Query.boolean_query([(tantivy.Occur.Should, single) for single in singles])
    return tantivy.Query.const_score_query(listed, 0.0)


def _term_query(term: QueryTerm) -> tantivy.Query:
    query = tantivy.Query.term_query(SCHEMA, "body", term.text, "freq")
    return query if term.count == 1 else tantivy.Query.boost_query(query, float(term.count))


class LexicalIndex:
    """The one writer. Not thread-safe: its owner serialises calls.

    tantivy's own writer lives for one change only: an idle one keeps six threads and megabytes of buffers,
    which a service with fifty collections pays fifty times (measured: 300 threads, 400 MB).
    """

    def __init__(self, directory: Path | None = None) -> None:
        """directory: an existing folder, empty or with an index; None: in memory."""
        self._directory = directory
        self._index = tantivy.Index(SCHEMA) if directory is None else tantivy.Index(SCHEMA, str(directory))

    @property
    def on_disk(self) -> bool:
        return self._directory is not None

    def link_to(self, target: Path) -> bool:
        """Link the files of the last commit into another folder of the same disk; False in memory."""
        if self._directory is None:
            return False
        link_files(self._directory, target)
        return True

    def snapshot(self) -> LexicalSnapshot:
        self._index.reload()
        return LexicalSnapshot(self._index.searcher())

    def rewrite(
        self,
        additions: Iterable[IndexedChunk],
        deleted_documents: Iterable[int],
        replaced_chunks: Iterable[int],
    ) -> LexicalSnapshot:
        """Delete, then add, in one commit. On an error nothing has changed."""
        writer = self._index.writer(WRITER_MEMORY_BYTES, 1)
        try:
            for document_key in deleted_documents:
                _delete(writer, "document", document_key)
            for chunk_id in replaced_chunks:
                _delete(writer, "chunk", chunk_id)
            for chunk in additions:
                writer.add_document(_document(chunk))
            writer.commit()
        except BaseException:
            writer.rollback()
            raise
        finally:
            writer.wait_merging_threads()  # also releases the index to the next writer
        return self.snapshot()


def link_files(source: Path, target: Path) -> None:
    """Make `target` a second folder of an index, which may then grow by itself.

    Both share the files that are never changed again, so it costs no space and no time.
    """
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.name in _REPLACED_FILES:
            shutil.copyfile(path, target / path.name)
        elif path.suffix != ".lock":
            os.link(path, target / path.name)


def _document(chunk: IndexedChunk) -> tantivy.Document:
    # The typed adders: a value whose Python type does not fit the schema kills tantivy's writer thread.
    document = tantivy.Document()
    document.add_unsigned("chunk", chunk.chunk_id)
    document.add_unsigned("document", chunk.document_key)
    document.add_text("body", " ".join(terms(chunk.text)))
    return document


def _delete(writer: tantivy.IndexWriter, field: str, value: int) -> None:
    # Not delete_documents_by_term: it makes a signed term, which matches nothing in an unsigned field
    # (0.27.0).
    writer.delete_documents_by_query(tantivy.Query.term_query(SCHEMA, field, value))
