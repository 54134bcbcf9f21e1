"""Fills stores and looks at what they take on the disk, for the capacity benchmark.

The documents are those of scale_corpus.py, one chunk each. A store grows from size to size, and
is looked at when it has one. PostgreSQL is a server of the development packages, or the one that
FOOTNOTE_POSTGRES_URL names.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psycopg

from app.db.releases import find_served
from app.db.writing import write_documents
from app.resources import Resources, open_resources
from app.settings import Settings
from retrieval.builds.manifest import MANIFEST, BuildOrigin, read_manifest
from retrieval.builds.sealing import SealOptions
from retrieval.engines.address import parse_engine
from retrieval.engines.open import open_engine_index
from retrieval.engines.types import IndexKey
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.sealed_vectors import IndexKind
from retrieval.search_index import SearchIndex
from retrieval.types import IndexedChunk, SearchMode
from tests.benchmarks.capacity_law import Sizes
from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.scale_corpus import ScaleCorpus
from tests.benchmarks.scale_http import document_rows
from tests.engines.postgres_server import Databases, PostgresServer, named_server

COLLECTION = "capacity"
BATCH = 1_000
ORIGIN = BuildOrigin("0" * 32, 1, "capacity", "capacity")
KEY = IndexKey(1, "capacity", "capacity", "0" * 32)
# Tables of the metadata by what there is one of.
PARTS = {"documents": "documents", "document_versions": "documents", "chunks": "chunks", "vectors": "vectors"}
_SQLITE_TABLES = """SELECT s.tbl_name, SUM(d.pgsize) FROM dbstat d JOIN sqlite_master s ON s.name = d.name
    GROUP BY s.tbl_name"""
_POSTGRES_TABLES = """SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"""
_ENGINE_RELATIONS = """SELECT t.relname, am.amname, pg_total_relation_size(c.oid) FROM pg_class c
    JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_index i ON i.indexrelid = c.oid
    JOIN pg_class t ON t.oid = COALESCE(i.indrelid, c.oid)
    WHERE c.relkind = 'i' AND c.relnamespace = 'footnote_index'::regnamespace
    UNION ALL SELECT relname, 'heap', pg_table_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'footnote_index'::regnamespace"""
_GRAPH_MADE = """SELECT bool_and(i.indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am am ON am.oid = c.relam WHERE am.amname = 'hnsw'"""
GRAPH_TIMEOUT_S = 3_600


@contextmanager
def _postgres() -> Iterator[str]:
    """The URL of an empty database, of the form that settings take."""
    named = named_server()
    server = None if named else PostgresServer()
    databases = Databases(named or server.url("postgres"))  # type: ignore[union-attr]
    url = databases.make()
    try:
        yield url
    finally:
        databases.drop(url)
        if server:
            server.remove()


def _spans(sizes: Sequence[int]) -> Iterator[range]:
    """What comes in to reach each size."""
    return (range(start, end) for start, end in pairwise((0, *sizes)))


def _batches(span: range) -> Iterator[range]:
    return (span[start : start + BATCH] for start in range(0, len(span), BATCH))


async def _metadata(settings: Settings, corpus: ScaleCorpus, sizes: Sequence[int]) -> Sizes:
    """Bytes of documents with their texts, of chunks, of vectors and of all else, by the number of chunks."""
    found: dict[str, dict[int, int]] = {}
    async with open_resources(settings) as resources:
        await resources.collections.create(COLLECTION)
        async for size in _written(resources, corpus, sizes):
            tables = _sqlite_tables(settings) if settings.database_url is None else _postgres_tables(settings)
            for part in ("documents", "chunks", "vectors", "other"):
                rows = [taken for table, taken in tables.items() if PARTS.get(table, "other") == part]
                found.setdefault(part, {})[size] = sum(rows)
    return found


async def _written(resources: Resources, corpus: ScaleCorpus, sizes: Sequence[int]) -> AsyncIterator[int]:
    for span in _spans(sizes):
        for numbers in _batches(span):
            async with resources.database.write() as connection:
                collection, release = await find_served(connection, COLLECTION)
                rows = list(document_rows(corpus.text, corpus.vectors, numbers, release))
                await write_documents(connection, collection, rows)
        yield span.stop


def _sqlite_tables(settings: Settings) -> dict[str, int]:
    with sqlite3.connect(settings.home / "footnote.db") as connection:
        return dict(connection.execute(_SQLITE_TABLES).fetchall())


def _postgres_tables(settings: Settings) -> dict[str, int]:
    with psycopg.connect(settings.database.conninfo, autocommit=True) as connection:
        connection.execute("VACUUM")
        return dict(connection.execute(_POSTGRES_TABLES).fetchall())


def _sqlite(corpus: ScaleCorpus, sizes: Sequence[int], folder: Path) -> Mapping[str, Sizes]:
    return {"SQLite": asyncio.run(_metadata(Settings(home=folder), corpus, sizes))}


def _postgresql(corpus: ScaleCorpus, sizes: Sequence[int], folder: Path) -> Mapping[str, Sizes]:
    with _postgres() as url:
        settings = Settings(home=folder, database_url=url)
        return {"PostgreSQL": asyncio.run(_metadata(settings, corpus, sizes))}


def _faiss(corpus: ScaleCorpus, sizes: Sequence[int], folder: Path) -> Mapping[str, Sizes]:
    """Bytes of the files of builds: those that the benchmark `scale` left, where there are two."""
    found = {}
    for kind in (IndexKind.HNSW, IndexKind.IVF):
        builds = _left_builds(kind)
        if len(builds) < 2:
            builds = {size: _build(corpus, size, folder / f"{size}-{kind}", kind) for size in sizes}
        files = {size: _files(build) for size, build in builds.items()}
        found[f"FAISS, {kind.value}"] = {
            part: {size: taken[part] for size, taken in files.items()}
            for part in ("vectors", "words", "columns")
        }
    return found


def _left_builds(kind: IndexKind) -> dict[int, Path]:
    found = [path.parent for path in (WORKPLACE / "scale").glob(f"index-*/builds/*/{MANIFEST}")]
    manifests = {build: read_manifest(build) for build in found}
    return {each.chunks: build for build, each in manifests.items() if each.index_kind == kind}


def _build(corpus: ScaleCorpus, size: int, folder: Path, kind: IndexKind) -> Path:
    for name in ("builds", "first"):
        (folder / name).mkdir(parents=True)
    index = CollectionIndex(corpus.vectors.shape[1], folder / "first")
    _take_in(index, corpus, range(size))
    return index.seal(folder / "scratch", folder / "builds", ORIGIN, SealOptions(kind=kind))


def _files(build: Path) -> dict[str, int]:
    parts = {"vectors": 0, "words": 0, "columns": 0}
    for name, file in read_manifest(build).files.items():
        part = "vectors" if name == "vectors.faiss" else "words" if name.startswith("lexical/") else "columns"
        parts[part] += file.size_bytes
    return parts


def _take_in(index: SearchIndex, corpus: ScaleCorpus, span: range) -> None:
    for numbers in _batches(span):
        index.apply([_chunk(corpus, i) for i in numbers], (), numbers.stop)


def _chunk(corpus: ScaleCorpus, i: int) -> IndexedChunk:
    return IndexedChunk(i + 1, i + 1, corpus.text(i), corpus.vectors[i], {"bucket": i % 1_000})


def _pgvector(corpus: ScaleCorpus, sizes: Sequence[int], _folder: Path) -> Mapping[str, Sizes]:
    """Bytes of an index in PostgreSQL: vectors, their graph, words, and metadata for filters."""
    with _postgres() as url:
        return {"pgvector": _grow_index(corpus, sizes, url)}


def _grow_index(corpus: ScaleCorpus, sizes: Sequence[int], url: str) -> Sizes:
    index = open_engine_index(parse_engine(url, url), KEY, corpus.vectors.shape[1])
    found: dict[str, dict[int, int]] = {}
    for span in _spans(sizes):
        _take_in(index, corpus, span)
        index.search(SearchRequest("", corpus.query_vectors[0], SearchMode.DENSE, 10))  # it wants a graph
        _wait_for_graph(url)
        for part, taken in _engine_relations(url).items():
            found.setdefault(part, {})[span.stop] = taken
    return found


def _wait_for_graph(url: str) -> None:
    """The first search has it made, in the background."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(GRAPH_TIMEOUT_S):
            if connection.execute(_GRAPH_MADE).fetchone() == (True,):
                return
            time.sleep(1)
    raise TimeoutError(f"no graph after {GRAPH_TIMEOUT_S} s")


def _engine_relations(url: str) -> dict[str, int]:
    parts = dict.fromkeys(("vectors", "graph", "words", "metadata"), 0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM")
        for table, kind, taken in connection.execute(_ENGINE_RELATIONS).fetchall():
            parts[_engine_part(table, kind)] += taken
    return parts


def _engine_part(table: str, kind: str) -> str:
    if kind == "hnsw":
        return "graph"
    if table.startswith("vectors"):
        return "vectors"
    return "metadata" if table.startswith("documents") else "words"


STORES: dict[str, Callable[[ScaleCorpus, Sequence[int], Path], Mapping[str, Sizes]]] = {
    "SQLite": _sqlite,
    "PostgreSQL": _postgresql,
    "FAISS": _faiss,
    "pgvector": _pgvector,
}
