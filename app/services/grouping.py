"""The documents of a collection in groups: by what they are about, and those that repeat one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from anyio import to_thread
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.following import Wanted
from app.db.grouping import StoredDocument, beginnings, iterate_owned_vectors, stored_documents
from app.indexes import Indexes
from embeddings.errors import InvalidInput
from embeddings.vectors import unit_rows
from retrieval.grouping import Clustering, Overlap, cluster, connected, overlaps
from retrieval.keywords import telling_words

# Of a cluster: documents shown as the most typical ones, and those whose beginnings its words come from.
TYPICAL = 3
READ_DOCUMENTS = 200
READ_CHARACTERS = 2_000

Vectors = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class GroupedDocument:
    """A document in a group. score: cosine to the group's centre."""

    id: str
    title: str | None
    score: float


@dataclass(frozen=True, slots=True)
class DocumentCluster:
    """Documents that are about the same. words: that tell them from the others; documents: the most typical
    first.
    """

    words: tuple[str, ...]
    documents: tuple[GroupedDocument, ...]


@dataclass(frozen=True, slots=True)
class Clusters:
    """The largest first. silhouette: how far they stand apart, 0 to 1."""

    clusters: tuple[DocumentCluster, ...]
    silhouette: float


@dataclass(frozen=True, slots=True)
class Repetition:
    """Two documents that say much the same.

    first_share, second_share: of the chunks of each that the other has too, 0 to 1; score: mean cosine of
    these; same_text: they are equal to the last character.
    """

    first: str
    second: str
    first_share: float
    second_share: float
    score: float
    same_text: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """groups: documents of which one would do, the largest group first; contained: pairs of which one stands
    in the other, in part or whole, but not the other way round.
    """

    groups: tuple[tuple[str, ...], ...]
    pairs: tuple[Repetition, ...]
    contained: tuple[Repetition, ...]


class GroupingService:
    """Groups documents by the vectors of the release in service."""

    def __init__(self, database: Database, indexes: Indexes) -> None:
        self._database = database
        self._indexes = indexes

    async def cluster(
        self, collection: str, clusters: int | None = None, seed: int = 0, progress: Progress = _silent
    ) -> Clusters:
        """Clusters of documents, each by the mean of its chunks. clusters: None: as many as stand apart best.

        Raises NotFound, and InvalidInput for more clusters than documents.
        """
        wanted = await self._wanted(collection)
        async with self._database.read() as connection:
            stored = await stored_documents(connection, wanted.collection_id)
            stored, vectors = await _mean_vectors(connection, wanted, stored)
            if not stored:
                raise _empty(collection)
            found = await to_thread.run_sync(cluster, vectors, clusters, seed, progress)
            return await _describe(connection, stored, vectors, found)

    async def duplicates(
        self, collection: str, min_score: float, min_share: float, progress: Progress = _silent
    ) -> Duplicates:
        """Documents that repeat one another.

        min_score: cosine from which two chunks say the same; min_share: of the chunks of a document that
        another has to have for it to be a repetition. Raises NotFound.
        """
        wanted = await self._wanted(collection)
        async with self._database.read() as connection:
            stored = await stored_documents(connection, wanted.collection_id)
            firsts, copies = _same_texts(stored)
            owners, vectors = await _chunk_vectors(connection, wanted, firsts)
        found = await to_thread.run_sync(overlaps, vectors, owners, min_score, progress)
        return _duplicates(firsts, copies, found, min_share)

    async def _wanted(self, collection: str) -> Wanted:
        """The release in service, complete."""
        served = await self._indexes.follow(collection)
        model_id = served.encoding.encoder.model_id
        return Wanted(served.collection.id, served.release.chunking, model_id)


async def _mean_vectors(
    connection: AsyncConnection, wanted: Wanted, stored: Sequence[StoredDocument]
) -> tuple[list[StoredDocument], Vectors]:
    """The documents that have chunks, and (documents, dimension) unit rows."""
    places = {document.key: place for place, document in enumerate(stored)}
    sums: Vectors | None = None
    async for block in iterate_owned_vectors(connection, wanted):
        if sums is None:
            sums = np.zeros((len(stored), block.vectors.shape[1]), np.float32)
        np.add.at(sums, [places[key] for key in block.owners.tolist()], block.vectors)
    if sums is None:
        return [], np.empty((0, 0), np.float32)
    present = np.flatnonzero(sums.any(axis=1))
    return [stored[place] for place in present.tolist()], unit_rows(sums[present])


async def _chunk_vectors(
    connection: AsyncConnection, wanted: Wanted, documents: Sequence[StoredDocument]
) -> tuple[NDArray[np.int64], Vectors]:
    """Places among the documents (chunks,), and (chunks, dimension) unit rows."""
    places = {document.key: place for place, document in enumerate(documents)}
    owners: list[int] = []
    blocks: list[Vectors] = []
    async for block in iterate_owned_vectors(connection, wanted):
        kept = [row for row, key in enumerate(block.owners.tolist()) if key in places]
        owners += [places[int(block.owners[row])] for row in kept]
        blocks.append(block.vectors[kept])
    vectors = np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)
    return np.array(owners, np.int64), unit_rows(vectors)


async def _describe(
    connection: AsyncConnection, stored: Sequence[StoredDocument], vectors: Vectors, found: Clustering
) -> Clusters:
    scores = np.einsum("nd,nd->n", vectors, found.centres[found.places])
    members = [
        sorted(np.flatnonzero(found.places == number).tolist(), key=lambda place: -scores[place])
        for number in range(len(found.centres))
    ]
    read = [[stored[place].key for place in inside[:READ_DOCUMENTS]] for inside in members]
    texts = [list((await beginnings(connection, keys, READ_CHARACTERS)).values()) for keys in read]
    words = await to_thread.run_sync(telling_words, texts)
    clusters = tuple(
        DocumentCluster(tuple(named), tuple(_grouped(stored[place], scores[place]) for place in inside))
        for named, inside in zip(words, members, strict=True)
    )
    return Clusters(clusters, found.silhouette)


def _grouped(document: StoredDocument, score: float) -> GroupedDocument:
    return GroupedDocument(document.external_id, document.title, float(score))


def _same_texts(
    stored: Sequence[StoredDocument],
) -> tuple[list[StoredDocument], list[tuple[StoredDocument, StoredDocument]]]:
    """The first document of each text, and the others each with the first of its text."""
    firsts: dict[str, StoredDocument] = {}
    copies = []
    for document in stored:
        first = firsts.setdefault(document.content_hash, document)
        if first is not document:
            copies.append((first, document))
    return list(firsts.values()), copies


def _duplicates(
    firsts: Sequence[StoredDocument],
    copies: Sequence[tuple[StoredDocument, StoredDocument]],
    found: Sequence[Overlap],
    min_share: float,
) -> Duplicates:
    equal = [Repetition(one.external_id, two.external_id, 1.0, 1.0, 1.0, True) for one, two in copies]
    near = [_repetition(firsts, each) for each in found]
    both = [each for each in near if min(each.first_share, each.second_share) >= min_share]
    one_way = [
        each
        for each in near
        if min(each.first_share, each.second_share) < min_share <= max(each.first_share, each.second_share)
    ]
    pairs = (*equal, *both)
    return Duplicates(_groups(pairs), pairs, tuple(one_way))


def _repetition(documents: Sequence[StoredDocument], found: Overlap) -> Repetition:
    first, second = documents[found.first].external_id, documents[found.second].external_id
    return Repetition(first, second, found.first_share, found.second_share, found.score, False)


def _groups(pairs: Sequence[Repetition]) -> tuple[tuple[str, ...], ...]:
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    places = {name: place for place, name in enumerate(names)}
    joined = connected([(places[pair.first], places[pair.second]) for pair in pairs])
    return tuple(tuple(names[place] for place in group) for group in joined)


def _empty(collection: str) -> InvalidInput:
    return InvalidInput(
        f"the collection {collection} holds no documents to group",
        field="collection",
        found="no documents",
        expected="at least one",
        next_step=f"add some with `footnote ingest FOLDER --collection {collection}`",
    )
