"""Search: the question to a vector, the index to chunk ids, SQL to hits."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anyio import to_thread
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database, fetch_on
from app.db.hydration import hydrate, hydrate_now, read_span
from app.indexes import Indexes, Served
from app.services.encoding import Encoding
from app.services.merging import Passage, merge_neighbours
from app.services.metadata import check_text
from app.services.reranking import Reranking
from app.services.types import Hit, HitScores, SearchInput, SearchOutput
from app.settings import Settings
from app.telemetry.notes import note_search
from embeddings.errors import InvalidInput
from embeddings.stages import stage
from retrieval.engines.types import IndexMoved
from retrieval.filters import parse_filter
from retrieval.index import SearchRequest
from retrieval.types import RankedChunk, RankedList, SearchMode

# Hits that may be skipped; deeper paging is reading the collection, for which the list of documents is
# better.
MAX_OFFSET = 10_000
# Neighbours are looked for among at least twice as many chunks as hits are wanted, and at most among these.
MAX_MERGED_CHUNKS = 16_384

# Of a search while other processes write into the index as fast as it looks; a later one begins anew.
STILL_ATTEMPTS = 10

_Rows = Mapping[int, Row[*tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class _Found:
    """What the index ranked, and the rows of it. release: the number of the release that was searched."""

    ranked: RankedList
    rows: _Rows
    release: int
    truncated: bool = False


class SearchService:
    """Searches collections, each as it stood, or later, when the call began."""

    def __init__(
        self, database: Database, indexes: Indexes, settings: Settings, reranking: Reranking
    ) -> None:
        self._database = database
        self._indexes = indexes
        self._settings = settings
        self._reranking = reranking

    async def search(self, collection: str, wanted: SearchInput) -> SearchOutput:
        """The best hits for a query.

        Raises InvalidInput, NotFound for the collection, and Overloaded when too many queries wait.
        """
        started = time.perf_counter()
        self._check(wanted)
        search = self._reranked if wanted.rerank else self._search
        found = await search(collection, wanted, started)
        note_search(collection, wanted, found)
        return found

    async def _reranked(self, collection: str, wanted: SearchInput, started: float) -> SearchOutput:
        return await self._reranking.search(partial(self._search, started=started), collection, wanted)

    async def _search(self, collection: str, wanted: SearchInput, started: float) -> SearchOutput:
        filter_ = None if wanted.filter is None else parse_filter(wanted.filter)
        request = SearchRequest(
            wanted.query,
            mode=wanted.mode,
            limit=wanted.limit,
            offset=wanted.offset,
            filter=filter_,
            fusion=wanted.fusion,
            diversity=wanted.diversity,
            min_score=wanted.min_score,
        )
        if wanted.merge_neighbours:
            found, hits = await self._find_merged(collection, request)
        else:
            found = await self._find(collection, request)
            hits = tuple(_hit(chunk, found.rows[chunk.chunk_id]) for chunk in found.ranked.chunks)
        took_ms = (time.perf_counter() - started) * 1000
        return SearchOutput(
            wanted.query, wanted.mode, hits, found.ranked.weights, took_ms, found.truncated, found.release
        )

    async def _find_merged(self, collection: str, request: SearchRequest) -> tuple[_Found, tuple[Hit, ...]]:
        """As many chunks as make a full page of passages, and that page."""
        wanted = request.offset + request.limit
        depth = 2 * wanted
        while True:
            found = await self._find(collection, replace(request, offset=0, limit=depth))
            passages = merge_neighbours(found.ranked.chunks, found.rows, wanted)
            exhausted = len(found.ranked.chunks) < depth or depth >= MAX_MERGED_CHUNKS
            if len(passages) == wanted or exhausted:
                break
            depth *= 2
        async with self._database.read() as connection:
            hits = [
                await _merged_hit(connection, passage, found.rows) for passage in passages[request.offset :]
            ]
        return found, tuple(hits)

    async def _find(self, collection: str, request: SearchRequest) -> _Found:
        """Encode the query, rank, and read the hits, all of one release.

        The query is encoded before SQL is asked which release is in service; when that is by then another
        one, with another encoder, it is encoded again.
        """
        encoding = await self._indexes.expected_encoding(collection)
        while True:
            encoded, truncated = await _encoded(request, encoding)
            found = await to_thread.run_sync(self._find_at_once, collection, encoded, encoding)
            if found is None:
                with stage("follow"):
                    served = await self._indexes.follow(collection)
                if served.encoding is encoding:
                    found = await self._search_and_read(served, encoded)
                encoding = served.encoding
            if found is not None:
                return replace(found, truncated=truncated)

    def _find_at_once(self, collection: str, request: SearchRequest, encoding: Encoding) -> _Found | None:
        """All of a search in one thread, as long as nothing changes: each hop to another costs as much as
        its reading of SQL. None when something has changed, and `_search_and_read` has to look.
        """
        served = self._indexes.current(collection, encoding)
        return None if served is None else self._rank_and_read(served, request)

    def _rank_and_read(self, served: Served, request: SearchRequest) -> _Found | None:
        """Rank, and read the hits from SQL; None when something has changed in between."""
        try:
            if request.filter is not None:
                served.index.check_fields(request.filter)
            with stage("rank"):
                ranked = served.index.search(_fused_as_set(request, served))
        except IndexMoved:
            return None
        with stage("hydrate"):
            rows = hydrate_now(self._database, served.collection.id, ranked)
        return _Found(ranked, rows, served.release.number) if len(rows) == len(ranked.chunks) else None

    async def _search_and_read(self, served: Served, request: SearchRequest) -> _Found | None:
        """The hits, however often documents change. None when meanwhile a release with another encoder came
        into service.

        A document may change between the two, and its chunks are then gone from SQL. The search is then made
        again while the index stands still, so that writers can't make it miss a document that is there all
        the time. An index on an engine stands still in this process only; what it was not is found out
        afterwards, and the search made once more.
        """
        found = await to_thread.run_sync(self._rank_and_read, served, request)
        for _ in range(STILL_ATTEMPTS):
            if found is not None:
                return found
            async with self._indexes.standing_still(served.collection.name) as (connection, present):
                if present.encoding is not served.encoding:
                    return None
                found = await self._rank_standing(connection, present, request)
        return found

    async def _rank_standing(
        self, connection: AsyncConnection, present: Served, request: SearchRequest
    ) -> _Found | None:
        """The hits of an index that stands still; None when another process moved it nevertheless."""
        try:
            ranked = await to_thread.run_sync(present.index.search, _fused_as_set(request, present))
        except IndexMoved:
            return None
        rows = await hydrate(fetch_on(connection), present.collection.id, ranked)
        if len(rows) < len(ranked.chunks) and await self._indexes.has_moved(present):
            return None
        return _Found(ranked, rows, present.release.number)

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


async def _encoded(request: SearchRequest, encoding: Encoding) -> tuple[SearchRequest, bool]:
    """What the index is asked, and whether the encoder saw only a part of the query."""
    if request.mode == SearchMode.LEXICAL:
        return request, False
    encoded = await encoding.query(request.query)
    return replace(request, vector=encoded.vector, coverage=encoded.coverage), encoded.truncated


def _fused_as_set(request: SearchRequest, served: Served) -> SearchRequest:
    """The request with the collection's fusion, unless it names its own."""
    return request if request.fusion else replace(request, fusion=served.collection.settings.fusion)


async def _merged_hit(connection: AsyncConnection, passage: Passage, rows: _Rows) -> Hit:
    """The hit of a passage; of its best chunk alone when the document has changed since it was ranked."""
    alone = _hit(passage.best, rows[passage.best.chunk_id])
    if passage.first == passage.last:
        return alone
    text = await read_span(connection, passage.best.chunk_id, passage.start, passage.end)
    if text is None:
        return alone
    opening = passage.opening
    return replace(
        alone,
        start=passage.start,
        end=passage.end,
        text=text,
        page=opening.page,
        heading_path=tuple(opening.heading_path),
    )


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
