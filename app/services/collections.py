"""Collections: made, shown, set and deleted."""

import re
from datetime import UTC, datetime

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from app.db.collections import describe_collections, find_collection, no_such_collection
from app.db.engine import Database
from app.db.models import Collection
from app.services.types import CollectionInfo, CollectionSettings
from embeddings.errors import Conflict, InvalidInput

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# A shorter chunk says too little to be found by meaning.
MIN_CHUNK_TOKENS = 16


class CollectionService:
    """max_chunk_tokens: what the encoder in service sees of a text, in its tokens, without special ones."""

    def __init__(self, database: Database, max_chunk_tokens: int) -> None:
        self._database = database
        self._max_chunk_tokens = max_chunk_tokens

    async def create(self, name: str, settings: CollectionSettings | None = None) -> CollectionInfo:
        """Make an empty collection. Raises InvalidInput, or Conflict when the name is taken."""
        settings = CollectionSettings() if settings is None else settings
        _check_name(name)
        self._check_settings(settings)
        now = datetime.now(UTC)
        row = {"name": name, "last_seq": 0, "created_at": now, "updated_at": now, **_columns(settings)}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(Collection).values(row))
                (info,) = await describe_collections(connection, name)
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

    async def update(self, name: str, settings: CollectionSettings) -> CollectionInfo:
        """Replace the settings. Chunking holds for documents written from now on.

        A document sent again unchanged is cut anew when its chunking has changed since.
        Raises NotFound, InvalidInput.
        """
        self._check_settings(settings)
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            values = {**_columns(settings), "updated_at": datetime.now(UTC)}
            await connection.execute(update(Collection).where(Collection.id == collection.id).values(values))
            (info,) = await describe_collections(connection, name)
        return info

    async def delete(self, name: str) -> None:
        """Delete the collection with all its documents, versions, originals and vectors. Raises NotFound."""
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            await connection.execute(delete(Collection).where(Collection.id == collection.id))

    async def list(self) -> tuple[CollectionInfo, ...]:
        """Every collection, by name."""
        async with self._database.read() as connection:
            return await describe_collections(connection)

    def _check_settings(self, settings: CollectionSettings) -> None:
        _check_range("chunk_max_tokens", settings.chunk_max_tokens, MIN_CHUNK_TOKENS, self._max_chunk_tokens)
        most_overlap = settings.chunk_max_tokens // 2
        _check_range("chunk_overlap_tokens", settings.chunk_overlap_tokens, 0, most_overlap)
        threshold = settings.refusal_threshold
        if threshold is not None:
            _check_range("refusal_threshold", threshold, 0, 1)


def _columns(settings: CollectionSettings) -> dict[str, float | None]:
    return {
        "chunk_max_tokens": settings.chunk_max_tokens,
        "chunk_overlap_tokens": settings.chunk_overlap_tokens,
        "refusal_threshold": settings.refusal_threshold,
    }


def _check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        expected = "1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit"
        raise InvalidInput(
            f"the name {name[:80]!r} is not allowed; expected {expected}",
            field="name",
            found=repr(name[:80]),
            expected=expected,
        )


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
