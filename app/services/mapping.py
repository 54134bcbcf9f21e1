"""Maps of collections: their passages as points of a plane, near ones near, with what each group is about.

A map is made once for a release and a state of its documents, in a thread of its own, and kept while nothing
changes.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from app.db.engine import Database
from app.db.following import Wanted
from app.db.mapping import MappedChunk, MappedDocument, chunk_keys, mapped_chunks, mapped_documents
from app.indexes import Indexes, Served
from embeddings.errors import InvalidInput, Overloaded
from embeddings.stages import stage
from retrieval.grouping import cluster
from retrieval.keywords import telling_words
from retrieval.layout import Places, lay_out, use_one_core

MAX_POINTS = 5_000
DEFAULT_POINTS = 2_000
# Each holds some 2 MB with all its points.
MAX_KEPT = 8
# Maps that are made or wait for it; a later one is better asked for again.
MAX_MAKING = 4
# Of a passage, for its first line and for the words that name its cluster.
READ_CHARACTERS = 600
LINE_CHARACTERS = 80
# As many as there are colours that people tell apart.
MAX_CLUSTERS = 12
# A map shall name its regions: their number goes by its points, the root of a quarter of them, and not by how
# far they stand apart, which of scientific abstracts made two.
_POINTS_A_CLUSTER = 4
# Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): spreads consecutive keys evenly.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A passage. document: its place among the map's documents; start, end: code points; line: its first one
    with words, cut; cluster: its place among the map's clusters; x, y: -1 to 1.
    """

    document: int
    start: int
    end: int
    line: str
    x: float
    y: float
    cluster: int


@dataclass(frozen=True, slots=True)
class MapCluster:
    """Passages that are about the same.

    words: that tell them from the others; points: how many; typical: the places of the points nearest its
    centre among all vectors, nearest first; x, y: where its name may stand.
    """

    words: tuple[str, ...]
    points: int
    typical: tuple[int, ...]
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """release: number of the one that is shown; seq: of the last write that it shows; passages: in the
    collection, of which `points` are all or an even sample; clusters: the largest first.
    """

    release: int
    seq: int
    passages: int
    points: tuple[MapPoint, ...]
    clusters: tuple[MapCluster, ...]
    documents: tuple[MappedDocument, ...]


@dataclass(frozen=True, slots=True)
class _Key:
    """What a map is kept by."""

    wanted: Wanted
    release: int
    seq: int
    points: int


class MappingService:
    """Makes one map after another."""

    def __init__(self, database: Database, indexes: Indexes) -> None:
        self._database = database
        self._indexes = indexes
        self._kept: OrderedDict[_Key, CollectionMap] = OrderedDict()
        self._making: dict[_Key, asyncio.Task[CollectionMap]] = {}
        self._thread = ThreadPoolExecutor(1, "map", initializer=use_one_core)
        self._closing = threading.Event()

    async def map(self, collection: str, points: int = DEFAULT_POINTS) -> CollectionMap:
        """The map of the release in service. points: at most, 1 to MAX_POINTS; the same passages are drawn
        as long as they stand.

        A caller who leaves does not end the work, so that the next one finds it done. Raises NotFound,
        InvalidInput, and Overloaded when too many maps are being made.
        """
        _check_points(points)
        served = await self._indexes.follow(collection)
        key = _key(served, points)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._making:
            self._begin(key)
        return await asyncio.shield(self._making[key])

    async def close(self) -> None:
        """Stop what is being made and wait for it."""
        self._closing.set()
        for task in self._making.values():
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def _begin(self, key: _Key) -> None:
        if self._closing.is_set() or len(self._making) >= MAX_MAKING:
            raise Overloaded(
                f"{len(self._making)} maps are being made",
                found=f"{len(self._making)} maps",
                expected=f"fewer than {MAX_MAKING}",
                next_step="ask again in a minute",
            )
        task = asyncio.create_task(self._make(key))
        self._making[key] = task
        task.add_done_callback(lambda done: self._end(key, done))

    def _end(self, key: _Key, done: "asyncio.Task[CollectionMap]") -> None:
        self._making.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            self._kept[key] = done.result()
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    async def _make(self, key: _Key) -> CollectionMap:
        async with self._database.read() as connection:
            keys = await chunk_keys(connection, key.wanted)
            drawn = drawn_keys(keys, key.points).tolist()
            chunks, vectors = await mapped_chunks(connection, key.wanted, drawn, READ_CHARACTERS)
            documents = await mapped_documents(connection, sorted({chunk.document for chunk in chunks}))
        loop = asyncio.get_running_loop()
        drawing = _Drawing(chunks, vectors, documents)
        with stage("map"):
            points, clusters = await loop.run_in_executor(self._thread, drawing.draw, self._closing)
        return CollectionMap(key.release, key.seq, len(keys), points, clusters, tuple(documents))


class _Drawing:
    """One map's work, for a thread."""

    def __init__(
        self,
        chunks: Sequence[MappedChunk],
        vectors: NDArray[np.float32],
        documents: Sequence[MappedDocument],
    ) -> None:
        self._chunks = chunks
        self._vectors = vectors
        self._places = {document.key: place for place, document in enumerate(documents)}

    def draw(self, closing: threading.Event) -> tuple[tuple[MapPoint, ...], tuple[MapCluster, ...]]:
        if not self._chunks:
            return (), ()
        clusters, scores = self._cluster()
        places = lay_out(self._vectors, cancelled=closing.is_set)
        rows = zip(self._chunks, places.tolist(), clusters.tolist(), strict=True)
        points = tuple(self._point(chunk, place, number) for chunk, place, number in rows)
        return points, tuple(self._describe(clusters, scores, places))

    def _cluster(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The cluster of each point and its cosine to the centre."""
        count = max(1, min(MAX_CLUSTERS, round(sqrt(len(self._vectors) / _POINTS_A_CLUSTER))))
        found = cluster(self._vectors, count)
        return found.places, np.einsum("nd,nd->n", self._vectors, found.centres[found.places])

    def _point(self, chunk: MappedChunk, place: Sequence[float], number: int) -> MapPoint:
        line = first_line(chunk.beginning)
        return MapPoint(
            self._places[chunk.document], chunk.start, chunk.end, line, place[0], place[1], number
        )

    def _describe(
        self, clusters: NDArray[np.int64], scores: NDArray[np.float32], places: Places
    ) -> list[MapCluster]:
        members = [np.flatnonzero(clusters == number) for number in range(int(clusters.max()) + 1)]
        words = telling_words(
            [[self._chunks[row].beginning for row in inside.tolist()] for inside in members]
        )
        described = []
        for named, inside in zip(words, members, strict=True):
            typical = inside[np.argsort(-scores[inside], kind="stable")[:3]]
            x, y = np.median(places[inside], axis=0).tolist()
            described.append(MapCluster(tuple(named[:3]), len(inside), tuple(typical.tolist()), x, y))
        return described


def drawn_keys(keys: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the keys, evenly drawn; a key stays drawn while few others come or go."""
    if len(keys) <= most:
        return keys
    order = np.argsort(keys.astype(np.uint64) * _SPREAD, kind="stable")
    return np.sort(keys[order[:most]])


def first_line(text: str) -> str:
    """The first line that has a letter or a digit, without the marks of a heading or a list, cut."""
    lines = (line.strip().lstrip("#*->=|").strip() for line in text.splitlines())
    line = next((line for line in lines if any(map(str.isalnum, line))), "")
    return line if len(line) <= LINE_CHARACTERS else line[: LINE_CHARACTERS - 1].rstrip() + "…"


def _key(served: Served, points: int) -> _Key:
    model_id = served.encoding.encoder.model_id
    wanted = Wanted(served.collection.id, served.release.chunking, model_id)
    return _Key(wanted, served.release.number, served.collection.last_seq, points)


def _check_points(points: int) -> None:
    if not 1 <= points <= MAX_POINTS:
        raise InvalidInput(
            f"points is {points}, expected 1 to {MAX_POINTS}",
            field="points",
            found=str(points),
            expected=f"a whole number from 1 to {MAX_POINTS}",
        )
