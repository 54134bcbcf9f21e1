"""Opens the index of a release: the newest good build of FAISS, or what its engine keeps."""

from anyio import to_thread

from app.builds import BuildStore
from app.db.collections import CollectionRef, last_seq_of
from app.db.engine import Database
from app.db.following import Wanted
from app.engines import IndexEngines
from app.services.release_types import Release, ReleaseState
from embeddings.errors import Conflict
from retrieval.index import CollectionIndex
from retrieval.search_index import SearchIndex

# A collection of fewer writes is loaded from SQL at each start, in less than a second.
MIN_SEALABLE_WRITES = 2_000


class IndexOpener:
    """What it opens may lack writes, and holds none that SQL has not."""

    def __init__(self, database: Database, builds: BuildStore, engines: IndexEngines) -> None:
        self._database = database
        self._builds = builds
        self._engines = engines

    async def open(
        self, collection: CollectionRef, release: Release, wanted: Wanted, dimension: int
    ) -> SearchIndex:
        """The index of a release.

        Raises Overloaded or UpstreamFailed for an engine that fails, and Conflict for an index on it that has
        seen writes which SQL has not.
        """
        if wanted.engine is None:
            return await to_thread.run_sync(self.open_build, wanted, dimension, collection.last_seq)
        opened = await to_thread.run_sync(self._engines.open, wanted, dimension)
        # Whatever the index holds by now, a snapshot that begins later shows it too.
        async with self._database.read() as connection:
            last_seq = await last_seq_of(connection, wanted.collection_id)
        if opened.seq <= last_seq:
            return opened
        await to_thread.run_sync(opened.close)
        if release.state != ReleaseState.BUILDING:
            raise index_ahead(collection, release)
        await to_thread.run_sync(self._engines.drop, wanted)  # what is being made may be made anew
        return await to_thread.run_sync(self._engines.open, wanted, dimension)

    def open_build(self, wanted: Wanted, dimension: int, last_seq: int) -> CollectionIndex:
        """The newest good build; without one an empty index, which takes in everything from SQL."""
        origin = self._builds.origin(wanted.collection_id, wanted.chunking, wanted.model_id)
        opened = self._builds.open(origin, dimension, last_seq)
        if opened is not None:
            return opened
        # In memory a small collection takes in a write sooner, and needs no files.
        small = last_seq < MIN_SEALABLE_WRITES
        return CollectionIndex(dimension) if small else self._builds.new_index(dimension)


def index_ahead(collection: CollectionRef, release: Release) -> Conflict:
    """The error for an index on an engine that is of another history than SQL."""
    return Conflict(
        f"the index of {collection.name!r} on {release.engine} has seen writes that this database has not",
        field="engine",
        found="the index of a later state, or of another copy, of this database",
        expected=f"no write after number {collection.last_seq}",
        next_step=f"footnote migrate-index {collection.name} --to faiss; and let no two copies of a database "
        "share an engine",
    )
