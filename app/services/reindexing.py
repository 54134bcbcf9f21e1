"""Makes a release beside the one in service: completed, verified, and ready to be put in service."""

from dataclasses import asdict, replace
from typing import Any

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.engine import Database
from app.db.releases import add_release, change_release, find_release, find_served, list_releases
from app.encoders import Encoders, OpenEncoder
from app.engines import IndexEngines
from app.indexes import Indexes
from app.services.collections import check_settings, chunk_sizes
from app.services.completing import Completion, Progress
from app.services.release_types import (
    KEPT_STATES,
    ReindexInput,
    Release,
    ReleaseState,
    chunking_name,
    engine_name,
)
from app.services.types import CollectionSettings
from app.services.verification import Verifier
from embeddings.errors import Conflict, InvalidInput, ModelDamaged

_RESUMABLE = (ReleaseState.BUILDING, ReleaseState.READY)


class Reindexer:
    """Each step is idempotent: a reindex that was killed goes on when it is asked for again."""

    def __init__(
        self, database: Database, encoders: Encoders, engines: IndexEngines, indexes: Indexes
    ) -> None:
        self._database = database
        self._encoders = encoders
        self._engines = engines
        self._indexes = indexes
        self._completion = Completion(database, encoders)
        self._verifier = Verifier(database, encoders, indexes)

    async def begin(self, name: str, wanted: ReindexInput) -> Release:
        """The release that is wanted, made unless an unfinished one is the same.

        Raises NotFound, InvalidInput for the sizes, for an encoder that cannot be opened and for an engine
        that the settings do not name, and Conflict when the release in service is already as wanted.
        """
        async with self._database.read() as connection:
            collection, serving = await find_served(connection, name)
        given = wanted.encoder
        folder = serving.encoder if given is None else self._encoders.name_folder(given)
        encoder = self._encoders.default if folder is None else await self._open(folder)
        engine = serving.engine if wanted.engine is None else self._engines.name(wanted.engine)
        settings = _resized(collection.settings, wanted)
        check_settings(settings, encoder)
        values = {
            "chunk_max_tokens": settings.chunk_max_tokens,
            "chunk_overlap_tokens": settings.chunk_overlap_tokens,
            "encoder": folder,
            "model_id": encoder.encoder.model_id,
            "engine": engine,
        }
        chunking = await self._chunking(settings, encoder)
        async with self._database.write() as connection:
            collection, serving = await find_served(connection, name)
            if _same(serving, values):
                raise _nothing_to_do(collection, serving)
            return await _resumed_or_new(connection, collection, chunking, values)

    async def build(self, name: str, number: int, progress: Progress | None = None) -> Release:
        """Complete and verify a release; it is ready or failed afterwards. Searches go on meanwhile.

        progress: called with what is counted, how many are done, and of how many. Raises NotFound,
        ModelDamaged, Overloaded, UpstreamFailed and StorageFull; the next call goes on then.
        """
        async with self._database.read() as connection:
            collection, _ = await find_served(connection, name)
            release = await find_release(connection, collection, number)
        await self._completion.complete(release, progress)
        await self._indexes.follow_release(collection, release, progress)
        verification = await self._verifier.verify(collection, release)
        state = ReleaseState.FAILED if verification.reasons else ReleaseState.READY
        async with self._database.write() as connection:
            present = await find_release(connection, collection, number)
            if present.state in _RESUMABLE:  # else another process has put it in service meanwhile
                await change_release(connection, present, state=state, report=asdict(verification))
            return await find_release(connection, collection, number)

    async def _open(self, folder: str) -> OpenEncoder:
        """The encoder that somebody named. A folder without a whole model is his mistake, not ours."""
        try:
            return await self._encoders.open(folder)
        except ModelDamaged as error:
            raise InvalidInput(
                f"no encoder can be opened there: {error.message}",
                field="encoder",
                found=folder,
                expected="a model's folder, or its name under models/ in the data folder",
                next_step="see `footnote models list`; `footnote models convert` makes one",
            ) from error

    async def _chunking(self, settings: CollectionSettings, encoder: OpenEncoder) -> str:
        own = await to_thread.run_sync(encoder.tokenizer_hash)
        usual = await to_thread.run_sync(self._encoders.default.tokenizer_hash)
        return chunking_name(*chunk_sizes(settings), None if own == usual else own)


async def _resumed_or_new(
    connection: AsyncConnection, collection: CollectionRef, chunking: str, values: dict[str, Any]
) -> Release:
    releases = await list_releases(connection, collection.id)
    for release in releases:
        if release.state in _RESUMABLE and _same(release, values):
            await change_release(connection, release, state=ReleaseState.BUILDING, report=None)
            return await find_release(connection, collection, release.number)
    kept = {release.chunking for release in releases if release.state in KEPT_STATES}
    used = {release.chunking for release in releases}
    if chunking in used - kept:
        # Its chunks may be pruned, and would come back with other ids, which no older index or build knows.
        chunking = f"{chunking}-r{releases[0].number + 1}"
    return await add_release(
        connection, collection.id, ReleaseState.BUILDING, {**values, "chunking": chunking}
    )


def _resized(settings: CollectionSettings, wanted: ReindexInput) -> CollectionSettings:
    longest, overlap = wanted.chunk_max_tokens, wanted.chunk_overlap_tokens
    if longest is None:
        longest = settings.chunk_max_tokens
    if overlap is None:
        overlap = min(settings.chunk_overlap_tokens, longest // 2)
    return replace(settings, chunk_max_tokens=longest, chunk_overlap_tokens=overlap)


def _same(release: Release, values: dict[str, Any]) -> bool:
    """Whether the release is as wanted. One without an encoder of its own follows the settings' one."""
    names = ("chunk_max_tokens", "chunk_overlap_tokens", "encoder", "engine")
    same_model = release.encoder is None or release.model_id == values["model_id"]
    return same_model and all(getattr(release, name) == values[name] for name in names)


def _nothing_to_do(collection: CollectionRef, serving: Release) -> Conflict:
    return Conflict(
        f"release {serving.number}, which serves {collection.name!r}, is already as wanted",
        found=f"{serving.chunking} with {serving.encoder or 'the encoder of the settings'}, "
        f"its index kept by {engine_name(serving)}",
        expected="another encoder, other sizes of chunks or another index engine",
        next_step="give --encoder, --chunk-max-tokens, --chunk-overlap-tokens or --engine",
    )
