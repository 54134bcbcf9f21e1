"""Releases: listed, put in service, taken back, and cleared away."""

from collections.abc import Sequence

from anyio import to_thread

from app.db.collections import CollectionRef, find_collection
from app.db.engine import Database
from app.db.golden import add_golden, list_golden, remove_golden
from app.db.parts import IDS_AT_ONCE
from app.db.pruning import delete_chunks, delete_vectors, unused_chunks, unused_vectors
from app.db.releases import find_release, find_served, list_releases, switch_release
from app.encoders import Encoders
from app.engines import IndexEngines
from app.indexes import Indexes
from app.services.completing import Completion, Progress
from app.services.metadata import check_id, check_text
from app.services.reindexing import Reindexer
from app.services.release_types import (
    KEPT_STATES,
    PROMOTABLE_STATES,
    GoldenQuery,
    Pruned,
    ReindexInput,
    Release,
    ReleaseState,
)
from embeddings.errors import Conflict, InvalidInput, NotFound

# Documents come in while a release is caught up; what still lacks then is made by the next search.
CATCH_UP_ROUNDS = 5


class ReleaseService:
    """What collections serve, served and may serve. Searches go on during all of it."""

    def __init__(
        self, database: Database, encoders: Encoders, engines: IndexEngines, indexes: Indexes
    ) -> None:
        self._database = database
        self._encoders = encoders
        self._engines = engines
        self._indexes = indexes
        self._completion = Completion(database, encoders)
        self._reindexer = Reindexer(database, encoders, engines, indexes)

    async def list(self, name: str) -> tuple[Release, ...]:
        """The collection's releases, the latest first. Raises NotFound."""
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            return tuple(await list_releases(connection, collection.id))

    async def get(self, name: str, number: int) -> Release:
        """One release. Raises NotFound."""
        async with self._database.read() as connection:
            return await find_release(connection, await find_collection(connection, name), number)

    async def begin(self, name: str, wanted: ReindexInput) -> Release:
        """The release that is wanted, in state building; `build` does the work. Raises as `reindex` does."""
        return await self._reindexer.begin(name, wanted)

    async def build(self, name: str, number: int, progress: Progress | None = None) -> Release:
        """Complete and verify a release; it is ready or failed afterwards. Raises as `reindex` does."""
        return await self._reindexer.build(name, number, progress)

    async def reindex(
        self, name: str, wanted: ReindexInput, *, promote: bool, progress: Progress | None = None
    ) -> Release:
        """Make a release with another encoder, other chunks or another index engine, verify it, and put it
        in service.

        promote: False leaves it ready. A release that fails its verification is not put in service; its
        report says why. Raises NotFound, InvalidInput for the sizes and the engine's URL, ModelDamaged for
        the encoder, Conflict when the release in service is already as wanted, Overloaded, UpstreamFailed for
        the engine, and StorageFull. A reindex that was interrupted goes on when it is called again.
        """
        begun = await self.begin(name, wanted)
        built = await self.build(name, begun.number, progress)
        if promote and built.state == ReleaseState.READY:
            return await self.promote(name, built.number, progress)
        return built

    async def promote(self, name: str, number: int, progress: Progress | None = None) -> Release:
        """Put a release in service: it is caught up, and then answers from one search to the next.

        Raises NotFound, and Conflict for a release that is not ready.
        """
        async with self._database.read() as connection:
            collection, serving = await find_served(connection, name)
            release = await find_release(connection, collection, number)
        if release.id == serving.id:
            return serving
        _check_promotable(release, name)
        for _ in range(CATCH_UP_ROUNDS):
            if not await self._completion.complete(release, progress):
                break
        await self._indexes.follow_release(collection, release)  # so that no search waits for it
        return await self._switch(collection, number)

    async def rollback(self, name: str, progress: Progress | None = None) -> Release:
        """Put the previous release in service again. Raises NotFound, and Conflict when there is none."""
        for release in await self.list(name):
            if release.state == ReleaseState.PREVIOUS:
                return await self.promote(name, release.number, progress)
        raise Conflict(
            f"the collection {name!r} has no previous release",
            found="only the release in service",
            expected="a release that served before",
            next_step=f"footnote reindex {name} makes another release",
        )

    async def prune(self, name: str) -> Pruned:
        """Reclaim the chunks and vectors that no kept release needs, a few at a time, and what engines keep
        for such releases. Raises NotFound.
        """
        async with self._database.read() as connection:
            collection, serving = await find_served(connection, name)
        await self._completion.complete(serving)  # what it lacks may be cut after what is to go
        stored = await to_thread.run_sync(self._engines.stored)
        async with self._database.read() as connection:
            releases = await list_releases(connection, collection.id)
        kept = [release for release in releases if release.state in KEPT_STATES]
        chunks = await self._prune_chunks(collection, {release.chunking for release in kept})
        pairs = {(release.chunking, self._encoders.model_id(release) or "") for release in kept}
        vectors = await self._prune_vectors(collection, pairs)
        own = [each for each in stored if each.collection_id == collection.id]
        unneeded = self._engines.unneeded(own, map(self._indexes.wanted, kept))
        return Pruned(chunks, vectors, await to_thread.run_sync(self._engines.drop_all, unneeded))

    async def golden(self, name: str) -> tuple[GoldenQuery, ...]:
        """The collection's golden queries. Raises NotFound."""
        async with self._database.read() as connection:
            return await list_golden(connection, (await find_collection(connection, name)).id)

    async def add_golden(self, name: str, query: str, document_ids: Sequence[str]) -> GoldenQuery:
        """Keep a query with the documents that have to be found. Raises NotFound, InvalidInput."""
        _check_golden(query, document_ids)
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            return await add_golden(connection, collection.id, query, document_ids)

    async def remove_golden(self, name: str, golden_id: int) -> None:
        """Remove a golden query. Raises NotFound."""
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            if not await remove_golden(connection, collection.id, golden_id):
                raise _no_such_golden(name, golden_id)

    async def _switch(self, collection: CollectionRef, number: int) -> Release:
        async with self._database.write() as connection:
            present, serving = await find_served(connection, collection.name)
            release = await find_release(connection, present, number)
            if release.id != serving.id:
                _check_promotable(release, collection.name)
                await switch_release(connection, present, release)
            return await find_release(connection, present, number)

    async def _prune_chunks(self, collection: CollectionRef, kept: set[str]) -> int:
        total = 0
        while True:
            async with self._database.write() as connection:
                ids = await unused_chunks(connection, collection.id, kept, IDS_AT_ONCE)
                await delete_chunks(connection, ids)
            total += len(ids)
            if len(ids) < IDS_AT_ONCE:
                return total

    async def _prune_vectors(self, collection: CollectionRef, kept: set[tuple[str, str]]) -> int:
        total = 0
        while True:
            async with self._database.write() as connection:
                keys = await unused_vectors(connection, collection.id, kept, IDS_AT_ONCE)
                await delete_vectors(connection, keys)
            total += len(keys)
            if len(keys) < IDS_AT_ONCE:
                return total


def _check_promotable(release: Release, name: str) -> None:
    if release.state in PROMOTABLE_STATES:
        return
    reasons = "; ".join((release.report or {}).get("reasons", ()))
    raise Conflict(
        f"release {release.number} cannot be put in service: it is {release.state}"
        + (f" ({reasons})" if reasons else ""),
        field="number",
        found=str(release.state),
        expected=" or ".join(PROMOTABLE_STATES),
        next_step=f"footnote reindex {name} makes a release, or goes on with one that was interrupted",
    )


def _check_golden(query: str, document_ids: Sequence[str]) -> None:
    if not check_text(query, "query").strip():
        raise InvalidInput("the query is empty", field="query", found="nothing", expected="a question")
    if not document_ids:
        raise InvalidInput(
            "a golden query needs the documents that have to be found",
            field="document_ids",
            found="none",
            expected="one id or more",
        )
    for document_id in document_ids:
        check_id(document_id)


def _no_such_golden(name: str, golden_id: int) -> NotFound:
    return NotFound(
        f"the collection {name!r} has no golden query {golden_id}",
        field="id",
        found=str(golden_id),
        expected="the id of a golden query",
        next_step=f"footnote golden list {name}",
    )
