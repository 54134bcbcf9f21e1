"""Mass deletes: marked in one transaction, carried out row by row in the background.

A document that is marked is invisible at once: every statement that reads documents asks for `standing()`.
Carrying a deletion out gives each document a tombstone with the deletion's own sequence number, so that an
index learns of the same deletion at the same place before, during and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, next_seq
from app.db.marks import PAGE_BITS, PAGE_KEYS, marks_document
from app.db.models import Collection, Deletion, DeletionPage, Document, Tombstone
from app.db.tombstones import bury

# What one step of carrying out takes: about 50 ms, so that other writers hardly wait for it.
STEP_DOCUMENTS = 256
STEP_CHUNKS = 2000
STEP_TOMBSTONES = 5000


@dataclass(frozen=True, slots=True)
class _Page:
    """keys: those of its documents that are marked, ascending."""

    number: int
    keys: NDArray[np.int64]


async def mark_deleted(
    connection: AsyncConnection, collection: CollectionRef, keys: NDArray[np.int64]
) -> None:
    """Delete documents that stand. keys: (documents,) at least one, ascending."""
    seq = await next_seq(connection, collection)
    row = {"collection_id": collection.id, "seq": seq, "created_at": datetime.now(UTC)}
    inserted = await connection.execute(insert(Deletion).values(row).returning(Deletion.id))
    deletion_id = inserted.scalar_one()
    numbers = keys >> PAGE_BITS
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    pages = [
        {"page": int(part[0] >> PAGE_BITS), "deletion_id": deletion_id, "marks": _pack(part)}
        for part in np.split(keys, starts[1:])
    ]
    await connection.execute(insert(DeletionPage), pages)


async def marked_keys(
    connection: AsyncConnection, collection_id: int, first: int, last: int
) -> frozenset[int]:
    """Keys of documents that the writes `first` to `last` deleted, of those not carried out yet."""
    statement = select(DeletionPage.page, DeletionPage.marks).join(Deletion)
    wanted = (Deletion.collection_id == collection_id, Deletion.seq.between(first, last))
    pages = await connection.execute(statement.where(*wanted))
    return frozenset(key for row in pages for key in _unpack(row).keys.tolist())


async def bury_marked(connection: AsyncConnection, collection_id: int, keys: Sequence[int]) -> None:
    """Carry out the deletion of a few documents now, so that their ids are free."""
    seq = select(Deletion.seq).join(DeletionPage).where(marks_document()).correlate(Document)
    columns = (Document.id, Document.external_id, Document.version, seq.scalar_subquery().label("seq"))
    rows = (await connection.execute(select(*columns).where(Document.id.in_(keys)))).all()
    for row in rows:
        await bury(connection, collection_id, [row], row.seq)


async def work_is_left(connection: AsyncConnection) -> bool:
    """Whether a deletion waits to be carried out."""
    gone = select(Collection.id).where(Collection.deleted_at.is_not(None)).exists()
    return bool(await connection.scalar(select(select(Deletion.id).exists() | gone)))


async def carry_out_step(connection: AsyncConnection) -> bool:
    """Remove the rows of some deleted documents; False when nothing was left to do."""
    gone = select(Collection.id).where(Collection.deleted_at.is_not(None)).order_by(Collection.id).limit(1)
    collection_id = await connection.scalar(gone)
    if collection_id is not None:
        await _remove_from(connection, collection_id)
        return True
    deletion = (await connection.execute(select(Deletion).order_by(Deletion.id).limit(1))).one_or_none()
    if deletion is not None:
        await _carry_out(connection, deletion)
    return deletion is not None


async def _carry_out(connection: AsyncConnection, deletion: Row[*tuple[Any, ...]]) -> None:
    pages = await _first_pages(connection, deletion.id)
    if not pages:
        await connection.execute(delete(Deletion).where(Deletion.id == deletion.id))
        return
    keys = np.concatenate([page.keys for page in pages])
    columns = (Document.id, Document.external_id, Document.version, Document.chunk_count)
    statement = select(*columns).where(Document.id.in_(keys.tolist())).order_by(Document.id)
    rows = (await connection.execute(statement)).all()
    taken = _within_step(rows)
    await bury(connection, deletion.collection_id, taken, deletion.seq)
    last = int(keys[-1]) if len(taken) == len(rows) else taken[-1].id
    for page in pages:
        await _clear(connection, deletion.id, page, last)


async def _first_pages(connection: AsyncConnection, deletion_id: int) -> list[_Page]:
    statement = select(DeletionPage.page, DeletionPage.marks).where(DeletionPage.deletion_id == deletion_id)
    rows = await connection.execute(statement.order_by(DeletionPage.page).limit(STEP_DOCUMENTS))
    pages: list[_Page] = []
    count = 0
    for row in rows:
        pages.append(_unpack(row))
        count += len(pages[-1].keys)
        if count >= STEP_DOCUMENTS:
            break
    return pages


async def _clear(connection: AsyncConnection, deletion_id: int, page: _Page, last: int) -> None:
    """Take the marks of keys up to `last` away."""
    left = page.keys[page.keys > last]
    own = (DeletionPage.deletion_id == deletion_id, DeletionPage.page == page.number)
    if len(left) == 0:
        await connection.execute(delete(DeletionPage).where(*own))
    elif len(left) < len(page.keys):
        await connection.execute(update(DeletionPage).where(*own).values(marks=_pack(left)))


async def _remove_from(connection: AsyncConnection, collection_id: int) -> None:
    """Remove a part of a deleted collection, in the end its own row. Nothing needs tombstones of it."""
    columns = select(Document.id, Document.chunk_count).where(Document.collection_id == collection_id)
    rows = (await connection.execute(columns.limit(STEP_DOCUMENTS))).all()
    if rows:
        keys = [row.id for row in _within_step(rows)]
        await connection.execute(delete(Document).where(Document.id.in_(keys)))
        return
    own = select(Tombstone.document_key).where(Tombstone.collection_id == collection_id)
    removed = delete(Tombstone).where(Tombstone.document_key.in_(own.limit(STEP_TOMBSTONES)))
    if (await connection.execute(removed)).rowcount == 0:
        await connection.execute(delete(Collection).where(Collection.id == collection_id))


def _within_step(rows: Sequence[Row[*tuple[Any, ...]]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """The first of the documents, as many as one step takes; at least one if there is one."""
    chunks = 0
    for count, row in enumerate(rows, start=1):
        chunks += row.chunk_count
        if chunks >= STEP_CHUNKS:
            return rows[:count]
    return rows


def _pack(keys: NDArray[np.int64]) -> bytes:
    marks = np.zeros(PAGE_KEYS, np.uint8)
    marks[keys & (PAGE_KEYS - 1)] = 1
    return marks.tobytes()


def _unpack(row: Row[*tuple[Any, ...]]) -> _Page:
    marked = np.flatnonzero(np.frombuffer(row.marks, np.uint8)).astype(np.int64)
    return _Page(row.page, marked + row.page * PAGE_KEYS)
