"""Search: the question to a vector, the index to chunk ids, SQL to hits."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anyio import to_thread
from sqlalchemy import Row

from app.db.engine import Database
from app.db.hydration import hydrate
from app.indexes import Indexes
from app.services.encoding import Encoding
from app.services.metadata import check_text
from app.services.types import Hit, HitScores, SearchInput, SearchOutput
from app.settings import Settings
from embeddings.errors import InvalidInput
from retrieval.filters import parse_filter
from retrieval.index import SearchRequest
from retrieval.types import RankedChunk, RankedList, SearchMode

# Hits that may be skipped; deeper paging is reading the collection, for which the list of documents is
# better.
MAX_OFFSET = 10_000

_Rows = Mapping[int, Row[*tuple[Any, ...]]]


class SearchService:
    """Searches collections, each as it stood, or later, when the call began."""

    def __init__(self, database: Database, encoding: Encoding, indexes: Indexes, settings: Settings) -> None:
        self._database = database
        self._encoding = encoding
        self._indexes = indexes
        self._settings = settings

    async def search(self, collection: str, wanted: SearchInput) -> SearchOutput:
        """The best hits for a query.

        Raises InvalidInput, NotFound for the collection, and Overloaded when too many queries wait.
        """
        started = time.perf_counter()
        request, truncated = await self._request(wanted)
        ranked, rows = await self._search_and_read(collection, request)
        hits = tuple(_hit(chunk, rows[chunk.chunk_id]) for chunk in ranked.chunks)
        took_ms = (time.perf_counter() - started) * 1000
        return SearchOutput(wanted.query, wanted.mode, hits, ranked.weights, took_ms, truncated)

    async def _request(self, wanted: SearchInput) -> tuple[SearchRequest, bool]:
        """What the index is asked, and whether the encoder saw only a part of the query."""
        self._check(wanted)
        request = SearchRequest(
            query=wanted.query,
            mode=wanted.mode,
            limit=wanted.limit,
            offset=wanted.offset,
            filter=None if wanted.filter is None else parse_filter(wanted.filter),
        )
        if wanted.mode == SearchMode.LEXICAL:
            return request, False
        encoded = await self._encoding.query(wanted.query)
        return replace(request, vector=encoded.vector, coverage=encoded.coverage), encoded.truncated

    async def _search_and_read(self, collection: str, request: SearchRequest) -> tuple[RankedList, _Rows]:
        """Rank, and read the hits from SQL.

        A document may change between the two, and its chunks are then gone from SQL. The search is then made
        again while the index stands still, so that writers can't make it miss a document that is there all
        the time.
        """
        reference, index = await self._indexes.follow(collection)
        if request.filter is not None:
            await to_thread.run_sync(index.check_fields, request.filter)
        ranked = await to_thread.run_sync(index.search, request)
        async with self._database.read() as connection:
            rows = await hydrate(connection, reference.id, ranked)
        if len(rows) == len(ranked.chunks):
            return ranked, rows
        async with self._indexes.standing_still(collection) as (connection, reference, index):
            ranked = await to_thread.run_sync(index.search, request)
            return ranked, await hydrate(connection, reference.id, ranked)

    def _check(self, wanted: SearchInput) -> None:
        longest, most = self._settings.max_query_chars, self._settings.max_limit
        if not wanted.query.strip():
            raise _invalid(
                "query", "only white space" if wanted.query else "nothing", "a question or some words"
            )
        if len(wanted.query) > longest:
            raise _invalid("query", f"{len(wanted.query)} characters", f"at most {longest} characters")
        check_text(wanted.query, "query")
        if not 1 <= wanted.limit <= most:
            raise _invalid("limit", str(wanted.limit), f"1 to {most}")
        if not 0 <= wanted.offset <= MAX_OFFSET:
            raise _invalid("offset", str(wanted.offset), f"0 to {MAX_OFFSET}")


def _invalid(field: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{field}: found {found}; expected {expected}", field=field, found=found, expected=expected
    )


def _hit(chunk: RankedChunk, row: Row[*tuple[Any, ...]]) -> Hit:
    return Hit(
        document_id=row.external_id,
        version=row.version,
        title=row.title,
        start=row.start,
        end=row.end,
        text=row.text,
        page=row.page,
        heading_path=tuple(row.heading_path),
        metadata=row.meta,
        score=chunk.score,
        scores=HitScores(chunk.score, chunk.dense, chunk.lexical),
    )
