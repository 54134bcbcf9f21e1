"""Rows of releases. One column of the collection's row says which of them is in service."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, collection_columns, no_such_collection, to_reference
from app.db.engine import Database, Fetch, fetch_on
from app.db.models import Chunk, Collection, Document
from app.db.models import Release as ReleaseRow
from app.services.release_types import Release, ReleaseState
from embeddings.errors import NotFound

_COLUMNS = tuple(getattr(ReleaseRow, name) for name in Release.__dataclass_fields__)


async def find_served(connection: AsyncConnection, name: str) -> tuple[CollectionRef, Release]:
    """The collection of this name and its release in service. Raises NotFound."""
    return await fetch_served(fetch_on(connection), name)


async def fetch_served(fetch: Fetch, name: str) -> tuple[CollectionRef, Release]:
    """The same, from a snapshot of its own when it is Database.fetch. Raises NotFound."""
    return _served_of(await fetch(_SERVED_BY_NAME, {"name": name}), name)


def served_now(database: Database, name: str) -> tuple[CollectionRef, Release]:
    """The same, for a thread that may wait. Raises NotFound."""
    return _served_of(database.fetch_now(_SERVED_BY_NAME, {"name": name}), name)


async def present_served(
    connection: AsyncConnection, collection: CollectionRef
) -> tuple[CollectionRef, Release]:
    """The same collection, and its release in service, as this connection sees them. Raises NotFound."""
    row = (await connection.execute(_served().where(Collection.id == collection.id))).one_or_none()
    if row is None:
        raise no_such_collection(collection.name)
    return _pair(row)


async def list_releases(connection: AsyncConnection, collection_id: int) -> list[Release]:
    """Every release of a collection, the latest first."""
    statement = select(*_COLUMNS).where(ReleaseRow.collection_id == collection_id)
    return [_release(row) for row in await connection.execute(statement.order_by(ReleaseRow.number.desc()))]


async def all_releases(connection: AsyncConnection, states: Sequence[ReleaseState]) -> list[Release]:
    """The releases of every collection that are in one of these states."""
    statement = select(*_COLUMNS).where(ReleaseRow.state.in_(states)).order_by(ReleaseRow.id)
    return [_release(row) for row in await connection.execute(statement)]


async def find_release(connection: AsyncConnection, collection: CollectionRef, number: int) -> Release:
    """A release by its number. Raises NotFound."""
    wanted = (ReleaseRow.collection_id == collection.id, ReleaseRow.number == number)
    row = (await connection.execute(select(*_COLUMNS).where(*wanted))).one_or_none()
    if row is None:
        raise NotFound(
            f"the collection {collection.name!r} has no release {number}",
            field="number",
            found=str(number),
            expected="the number of a release",
            next_step=f"footnote releases list {collection.name}",
        )
    return _release(row)


async def add_release(
    connection: AsyncConnection, collection_id: int, state: ReleaseState, values: Mapping[str, Any]
) -> Release:
    """Make the collection's next release. values: the columns that say how it cuts and encodes."""
    numbers = select(func.coalesce(func.max(ReleaseRow.number), 0) + 1)
    number = await connection.scalar(numbers.where(ReleaseRow.collection_id == collection_id))
    now = datetime.now(UTC)
    row = {
        "collection_id": collection_id,
        "number": number,
        "state": state,
        "created_at": now,
        "promoted_at": now if state == ReleaseState.SERVING else None,
        **values,
    }
    inserted = await connection.execute(insert(ReleaseRow).values(row).returning(*_COLUMNS))
    release = _release(inserted.one())
    if state == ReleaseState.SERVING:
        await connection.execute(
            update(Collection).where(Collection.id == collection_id).values(release_id=release.id)
        )
    return release


async def change_release(connection: AsyncConnection, release: Release, **values: Any) -> None:
    """Set columns of a release's row."""
    await connection.execute(update(ReleaseRow).where(ReleaseRow.id == release.id).values(**values))


async def switch_release(connection: AsyncConnection, collection: CollectionRef, release: Release) -> None:
    """Put a release in service, in the caller's transaction: the one in service becomes the previous one,
    and the previous one is retired.
    """
    await _move(connection, collection, ReleaseState.PREVIOUS, ReleaseState.RETIRED)
    await _move(connection, collection, ReleaseState.SERVING, ReleaseState.PREVIOUS)
    now = datetime.now(UTC)
    await change_release(connection, release, state=ReleaseState.SERVING, promoted_at=now)
    values = {
        "release_id": release.id,
        "chunk_max_tokens": release.chunk_max_tokens,
        "chunk_overlap_tokens": release.chunk_overlap_tokens,
        "updated_at": now,
    }
    await connection.execute(update(Collection).where(Collection.id == collection.id).values(values))
    await _recount_chunks(connection, collection, release)


async def _move(
    connection: AsyncConnection, collection: CollectionRef, before: ReleaseState, after: ReleaseState
) -> None:
    moved = (ReleaseRow.collection_id == collection.id, ReleaseRow.state == before)
    await connection.execute(update(ReleaseRow).where(*moved).values(state=after))


async def _recount_chunks(connection: AsyncConnection, collection: CollectionRef, release: Release) -> None:
    """Let documents tell the number of chunks that they have in this release."""
    owned = (Chunk.document_id == Document.id, Chunk.chunking == release.chunking)
    count = select(func.count()).select_from(Chunk).where(*owned).correlate(Document).scalar_subquery()
    differs = (Document.collection_id == collection.id, Document.chunk_count != count)
    await connection.execute(update(Document).where(*differs).values(chunk_count=count))


def _served() -> Select[*tuple[Any, ...]]:
    labelled = (column.label(f"release_{column.key}") for column in _COLUMNS)
    return select(*collection_columns(), *labelled).join(ReleaseRow, ReleaseRow.id == Collection.release_id)


def _served_of(rows: Sequence[Row[*tuple[Any, ...]]], name: str) -> tuple[CollectionRef, Release]:
    if not rows:
        raise no_such_collection(name)
    return _pair(rows[0])


def _pair(row: Row[*tuple[Any, ...]]) -> tuple[CollectionRef, Release]:
    fields = {name: getattr(row, f"release_{name}") for name in Release.__dataclass_fields__}
    return to_reference(row), _typed(fields)


def _release(row: Row[*tuple[Any, ...]]) -> Release:
    return _typed({name: getattr(row, name) for name in Release.__dataclass_fields__})


def _typed(fields: dict[str, Any]) -> Release:
    return Release(**{**fields, "state": ReleaseState(fields["state"])})


_SERVED_BY_NAME = _served().where(Collection.name == bindparam("name"))
