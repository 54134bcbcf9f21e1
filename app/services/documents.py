"""Documents: added, read back and deleted."""

from collections.abc import Sequence

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import find_collection, present_state
from app.db.documents import delete_documents, delete_keys
from app.db.engine import Database
from app.db.listing import (
    find_document,
    find_original,
    find_text,
    list_documents,
    no_such_document,
)
from app.db.selection import SelectedByFilter, SelectedIds, Selection, select_keys, select_keys_again
from app.services.drafts import draft_texts
from app.services.files import draft_files
from app.services.ingest import Ingest
from app.services.receipts import Receipt, keep
from app.services.types import (
    DocumentInfo,
    DocumentInput,
    DocumentPage,
    FileInput,
    ItemResult,
    OriginalFile,
    TextRange,
)
from app.settings import Settings
from embeddings.errors import InvalidInput, TooLarge
from retrieval.filters import parse_filter

MAX_PAGE = 1000


class DocumentService:
    """What is added is on the disk, and found by searches, when the call returns; what is deleted is gone."""

    def __init__(self, database: Database, ingest: Ingest, settings: Settings) -> None:
        self._database = database
        self._ingest = ingest
        self._settings = settings

    async def add(
        self,
        collection: str,
        items: Sequence[DocumentInput],
        receipt: Receipt[tuple[ItemResult, ...]] | None = None,
    ) -> tuple[ItemResult, ...]:
        """Make, replace or keep documents given as text; one result for each, in their order.

        A bad item fails alone. Raises NotFound for the collection, InvalidInput for an empty batch, TooLarge
        for one with too many items, StorageFull or Overloaded when nothing could be written.
        """
        self._check_batch(len(items), "documents")
        drafts = await to_thread.run_sync(draft_texts, items, self._settings.max_text_bytes)
        return await self._ingest.store(collection, drafts, receipt)

    async def add_files(
        self,
        collection: str,
        files: Sequence[FileInput],
        receipt: Receipt[tuple[ItemResult, ...]] | None = None,
    ) -> tuple[ItemResult, ...]:
        """Make, replace or keep documents given as files; one result for each file, or for each of its
        records.

        Raises as `add` does.
        """
        self._check_batch(len(files), "file")
        drafts = await to_thread.run_sync(draft_files, files, self._settings)
        return await self._ingest.store(collection, drafts, receipt)

    async def get(self, collection: str, document_id: str) -> DocumentInfo:
        """One document as it stands. Raises NotFound."""
        async with self._database.read() as connection:
            return await find_document(connection, await find_collection(connection, collection), document_id)

    async def text(
        self,
        collection: str,
        document_id: str,
        version: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> TextRange:
        """text[start:end] of a version, in code points; the current version and the whole text by default.

        Raises NotFound, and InvalidInput unless 0 <= start <= end <= length.
        """
        async with self._database.read() as connection:
            owner = await find_collection(connection, collection)
            row = await find_text(connection, owner, document_id, version)
        length = len(row.text)
        first, last = 0 if start is None else start, length if end is None else end
        _check_range(first, last, length)
        return TextRange(document_id, row.version, first, last, length, row.text[first:last])

    async def original(self, collection: str, document_id: str, version: int | None = None) -> OriginalFile:
        """The bytes that were sent for a version, by default the current one. Raises NotFound."""
        async with self._database.read() as connection:
            owner = await find_collection(connection, collection)
            row = await find_original(connection, owner, document_id, version)
        data = row.text.encode() if row.original is None else row.original
        return OriginalFile(document_id, row.version, row.filename, row.media_type, data)

    async def delete(self, collection: str, document_id: str, receipt: Receipt[None] | None = None) -> None:
        """Delete a document with all its versions and originals. Raises NotFound."""

        async def write(connection: AsyncConnection) -> None:
            owner = await find_collection(connection, collection)
            if not await delete_documents(connection, owner, [document_id]):
                raise no_such_document(owner, document_id)
            await keep(receipt, connection, None)

        await self._database.write_together(write)

    async def delete_where(
        self,
        collection: str,
        *,
        ids: Sequence[str] | None = None,
        filter: object | None = None,  # noqa: A002  the word of the filter language
        receipt: Receipt[int] | None = None,
    ) -> int:
        """Delete the documents with these ids, or those whose metadata passes the filter; returns how many.

        Ids of no document are no error. Raises NotFound for the collection, and InvalidInput for a bad
        filter, an empty one, or unless exactly one of the two is given.
        """
        selection = _select(ids, filter)
        # Found before the write begins, which then checks only what has changed since.
        async with self._database.read() as connection:
            seen = await find_collection(connection, collection)
            keys = await select_keys(connection, seen, selection)

        async def write(connection: AsyncConnection) -> int:
            owner = await present_state(connection, seen)
            still = await select_keys_again(connection, owner, selection, keys, seen.last_seq)
            count = await delete_keys(connection, owner, still)
            await keep(receipt, connection, count)
            return count

        return await self._database.write_together(write)

    async def list(self, collection: str, limit: int = 100, after: str | None = None) -> DocumentPage:
        """A page of the documents, in the order of their ids. Raises NotFound, InvalidInput."""
        if not 1 <= limit <= MAX_PAGE:
            raise _out_of_range("limit", limit, f"1 to {MAX_PAGE}")
        async with self._database.read() as connection:
            owner = await find_collection(connection, collection)
            found = await list_documents(connection, owner, limit + 1, after)
        page = tuple(found[:limit])
        return DocumentPage(page, page[-1].id if len(found) > limit else None)

    def _check_batch(self, count: int, field: str) -> None:
        most = self._settings.max_batch_documents
        if count < 1:
            raise _out_of_range(field, count, f"1 to {most} items")
        if count > most:
            raise TooLarge(
                f"the batch has {count} items; expected at most {most}",
                field=field,
                found=str(count),
                expected=f"1 to {most} items",
                next_step="send several batches, or raise FOOTNOTE_MAX_BATCH_DOCUMENTS",
            )


def _select(ids: Sequence[str] | None, source: object | None) -> Selection:
    if (ids is None) == (source is None):
        found = "neither" if ids is None else "both"
        raise InvalidInput(
            f"found {found} of ids and filter; expected one", field="ids", found=found, expected="one"
        )
    if ids is not None:
        return SelectedIds(tuple(ids))
    if source == {}:
        expected = "at least one condition"
        raise InvalidInput(
            "an empty filter would delete every document",
            field="filter",
            found="{}",
            expected=expected,
            next_step="delete the collection to delete every document",
        )
    return SelectedByFilter(parse_filter(source))


def _check_range(start: int, end: int, length: int) -> None:
    if not 0 <= start <= length:
        raise _out_of_range("start", start, f"0 to {length}, the length of the text")
    if not start <= end <= length:
        raise _out_of_range("end", end, f"{start} to {length}, from start to the length of the text")


def _out_of_range(field: str, value: int, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{field} is {value}; expected {expected}", field=field, found=str(value), expected=expected
    )
