"""Collections: made, shown, set and deleted."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import (
    CollectionRef,
    describe_collections,
    find_collection,
    hide_collection,
    no_such_collection,
)
from app.db.engine import Database
from app.db.marks import standing
from app.db.models import Collection, Document
from app.db.releases import add_release, change_release, find_served
from app.encoders import Encoders, OpenEncoder
from app.engines import IndexEngines
from app.services.names import check_collection_name
from app.services.receipts import Receipt, keep
from app.services.release_types import Release, ReleaseState, chunking_name
from app.services.types import CollectionInfo, CollectionSettings
from embeddings.errors import Conflict, InvalidInput
from generation.causal.prompt_template import check_prompt
from retrieval.fusion import check_fusion

# A shorter chunk says too little to be found by meaning.
MIN_CHUNK_TOKENS = 16


class CollectionService:
    """A collection's chunking is that of its release in service; only a reindex cuts documents anew."""

    def __init__(self, database: Database, encoders: Encoders, engines: IndexEngines) -> None:
        self._database = database
        self._encoders = encoders
        self._engines = engines

    async def create(
        self,
        name: str,
        settings: CollectionSettings | None = None,
        receipt: Receipt[CollectionInfo] | None = None,
    ) -> CollectionInfo:
        """Make an empty collection. Raises InvalidInput, or Conflict when the name is taken."""
        settings = CollectionSettings() if settings is None else settings
        check_collection_name(name)
        check_settings(settings, self._encoders.default)
        now = datetime.now(UTC)
        row = {"name": name, "last_seq": 0, "created_at": now, "updated_at": now, **_columns(settings)}
        try:
            async with self._database.write() as connection:
                made = await connection.execute(insert(Collection).values(row).returning(Collection.id))
                await add_release(connection, made.scalar_one(), ReleaseState.SERVING, self._first(settings))
                (info,) = await describe_collections(connection, name)
                await keep(receipt, connection, info)
        except IntegrityError as error:
            raise _taken(name) from error
        return info

    async def get(self, name: str) -> CollectionInfo:
        """One collection. Raises NotFound."""
        async with self._database.read() as connection:
            found = await describe_collections(connection, name)
        if not found:
            raise no_such_collection(name)
        return found[0]

    async def update(
        self, name: str, settings: CollectionSettings, receipt: Receipt[CollectionInfo] | None = None
    ) -> CollectionInfo:
        """Replace the settings.

        Raises NotFound, InvalidInput, and Conflict for another chunking of a collection that has documents.
        """
        async with self._database.read() as connection:
            _, release = await find_served(connection, name)
        check_settings(settings, await self._encoders.of(release))
        async with self._database.write() as connection:
            collection, release = await find_served(connection, name)
            if chunk_sizes(settings) != chunk_sizes(collection.settings):
                await _refuse_documents(connection, collection)
                await change_release(connection, release, **_rechunked(release, settings))
            values = {**_columns(settings), "updated_at": datetime.now(UTC)}
            await connection.execute(update(Collection).where(Collection.id == collection.id).values(values))
            (info,) = await describe_collections(connection, name)
            await keep(receipt, connection, info)
        return info

    async def delete(self, name: str, receipt: Receipt[None] | None = None) -> None:
        """Delete the collection with all its documents, versions, originals and vectors. Raises NotFound.

        It is gone for everybody when this returns; its rows are removed in the background.
        """
        async with self._database.write() as connection:
            await hide_collection(connection, await find_collection(connection, name))
            await keep(receipt, connection, None)

    async def list(self) -> tuple[CollectionInfo, ...]:
        """Every collection, by name."""
        async with self._database.read() as connection:
            return await describe_collections(connection)

    def _first(self, settings: CollectionSettings) -> dict[str, Any]:
        """The columns of a new collection's release."""
        sizes = chunk_sizes(settings)
        model_id = self._encoders.default.encoder.model_id
        return {
            "chunk_max_tokens": sizes[0],
            "chunk_overlap_tokens": sizes[1],
            "chunking": chunking_name(*sizes),
            "model_id": model_id,
            "engine": self._engines.default,
        }


def check_settings(settings: CollectionSettings, encoder: OpenEncoder) -> None:
    """Raise InvalidInput for settings that don't fit each other or the encoder."""
    longest = encoder.passage_tokens()
    _check_range("chunk_max_tokens", settings.chunk_max_tokens, MIN_CHUNK_TOKENS, longest)
    _check_range("chunk_overlap_tokens", settings.chunk_overlap_tokens, 0, settings.chunk_max_tokens // 2)
    threshold = settings.refusal_threshold
    if threshold is not None:
        _check_range("refusal_threshold", threshold, 0, 1)
    if settings.fusion is not None:
        check_fusion(settings.fusion, "settings.fusion")
    if settings.prompt is not None:
        check_prompt(settings.prompt, "settings.prompt")


def chunk_sizes(settings: CollectionSettings) -> tuple[int, int]:
    """Longest chunk and overlap, in tokens."""
    return settings.chunk_max_tokens, settings.chunk_overlap_tokens


def _rechunked(release: Release, settings: CollectionSettings) -> dict[str, Any]:
    """The columns of the release with other sizes of chunks, counted by the same tokenizer."""
    before = chunking_name(release.chunk_max_tokens, release.chunk_overlap_tokens)
    max_tokens, overlap_tokens = chunk_sizes(settings)
    return {
        "chunk_max_tokens": max_tokens,
        "chunk_overlap_tokens": overlap_tokens,
        "chunking": chunking_name(max_tokens, overlap_tokens) + release.chunking.removeprefix(before),
    }


async def _refuse_documents(connection: AsyncConnection, collection: CollectionRef) -> None:
    owned = select(Document.id).where(Document.collection_id == collection.id, standing())
    if (await connection.execute(owned.limit(1))).first() is not None:
        raise Conflict(
            f"the documents of {collection.name!r} are cut already",
            field="settings",
            found="another chunking for a collection that has documents",
            expected="the chunking that it has",
            next_step=f"footnote reindex {collection.name} --chunk-max-tokens N cuts them anew, and "
            "searching goes on meanwhile",
        )


def _columns(settings: CollectionSettings) -> dict[str, Any]:
    return {
        "chunk_max_tokens": settings.chunk_max_tokens,
        "chunk_overlap_tokens": settings.chunk_overlap_tokens,
        "refusal_threshold": settings.refusal_threshold,
        "fusion": msgspec.to_builtins(settings.fusion),
        "prompt": msgspec.to_builtins(settings.prompt),
        "keep_conversations": settings.keep_conversations,
    }


def _check_range(field: str, value: float, minimum: int, maximum: int) -> None:
    if not minimum <= value <= maximum:
        raise InvalidInput(
            f"{field} is {value}; expected {minimum} to {maximum}",
            field=f"settings.{field}",
            found=str(value),
            expected=f"{minimum} to {maximum}",
        )


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is already a collection {name!r}",
        field="name",
        found=name,
        expected="a name that is not taken",
        next_step="choose another name, or add documents to the one that exists",
    )
