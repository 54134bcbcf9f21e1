"""Drafts into the database: cut, encoded, and written in groups, each group in one transaction.

Cutting and encoding come before the write lock is taken, so that a large document does not hold other
writers up.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.documents import DocumentRow, Stored, unchanged
from app.db.engine import Database
from app.db.releases import find_served, present_served
from app.db.writing import write_documents
from app.encoders import Encoders
from app.services.drafts import Draft, Rejected
from app.services.encoding import EncodedPassages
from app.services.outlines import pack_outline
from app.services.passages import passage_text
from app.services.receipts import Receipt, keep
from app.services.release_types import Release
from app.services.types import ItemResult, ItemStatus
from embeddings.errors import FootnoteError
from embeddings.stages import stage, timed
from retrieval.chunking import Chunker
from retrieval.types import ChunkSpan

# About 50,000 tokens, 2 s of encoding on two cores: the 4 ms of a commit do not count then, and a kill loses
# little.
GROUP_CHARS = 200_000

# By the position in the batch.
Results: TypeAlias = dict[int, ItemResult]
Finish: TypeAlias = Callable[[AsyncConnection, Results], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pending:
    """A draft that has to be written. position: of its item in the batch."""

    position: int
    draft: Draft
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A pending draft with its chunks."""

    pending: Pending
    spans: Sequence[ChunkSpan]

    def passages(self) -> list[str]:
        """What the encoder sees of the chunks."""
        title, text = self.pending.draft.title, self.pending.draft.extracted.text
        return [passage_text(title, span.heading_path, text[span.start : span.end]) for span in self.spans]


@dataclass(frozen=True, slots=True)
class _Made:
    """A group that is ready to be written. failed: the results of those that could not be cut."""

    release: Release
    rows: Sequence[DocumentRow]
    cuts: Sequence[Cut]
    parts: Sequence[EncodedPassages]
    failed: Results


class Ingest:
    """Writes drafts for the release that is in service."""

    def __init__(self, database: Database, encoders: Encoders) -> None:
        self._database = database
        self._encoders = encoders

    async def store(
        self,
        name: str,
        drafts: Sequence[Draft | Rejected],
        receipt: Receipt[tuple[ItemResult, ...]] | None = None,
    ) -> tuple[ItemResult, ...]:
        """Write the drafts; one result for each, in their order. What was written is on the disk on return.

        receipt: kept with the last of the drafts, so that there is no answer that was not kept.

        Raises NotFound for the collection, and StorageFull or Overloaded when not one draft could be
        written; when some could, the others carry the error.
        """
        results = {
            position: _rejected(draft) for position, draft in enumerate(drafts) if isinstance(draft, Rejected)
        }
        pending = await to_thread.run_sync(_pending, drafts)
        async with self._database.read() as connection:
            collection, release = await find_served(connection, name)
            pending = await _set_unchanged_aside(connection, collection, pending, results)

        async def finish(connection: AsyncConnection, last: Results) -> None:
            await keep(receipt, connection, _in_order({**results, **last}))

        if not await self._store_groups(collection, release, pending, results, finish) and receipt:
            async with self._database.write() as connection:
                await finish(connection, {})
        return _in_order(results)

    async def _store_groups(
        self,
        collection: CollectionRef,
        release: Release,
        pending: Sequence[Pending],
        results: Results,
        finish: Finish,
    ) -> bool:
        """Write group after group. What keeps one from being written, such as a full disk, ends the work.

        finish: called in the transaction of the last group. Returns whether that was committed.
        """
        written = any(result.status != ItemStatus.ERROR for result in results.values())
        groups = list(_groups(pending))
        for group in groups:
            try:
                last = finish if group is groups[-1] else _go_on
                results |= await self._store_group(collection, release, group, last)
                written = True
            except FootnoteError as error:
                if not written:
                    raise
                results |= {
                    item.position: _failed(item.draft, error)
                    for item in pending
                    if item.position not in results
                }
                return False
        return bool(groups)

    async def _store_group(
        self, collection: CollectionRef, release: Release, group: Sequence[Pending], finish: Finish
    ) -> Results:
        """Write one group. It is cut and encoded again when another release comes into service meanwhile."""
        while True:
            cuts, parts, failed = await self._make_chunks(group, release)
            model_id = (await self._encoders.of(release)).encoder.model_id
            rows = [_row(release, model_id, cut, part) for cut, part in zip(cuts, parts, strict=True)]
            made = _Made(release, rows, cuts, parts, failed)
            with stage("commit"):
                serving, results = await self._database.write_together(
                    partial(_write_unless_switched, collection=collection, made=made, finish=finish)
                )
            if results is not None:
                return results
            release = serving

    async def _make_chunks(
        self, group: Sequence[Pending], release: Release
    ) -> tuple[list[Cut], list[EncodedPassages], Results]:
        """The group's documents with their chunks and vectors, and the results of those that could not be
        cut.
        """
        encoder = await self._encoders.of(release)
        sizes = release.chunk_max_tokens, release.chunk_overlap_tokens
        chunker = await to_thread.run_sync(encoder.chunker, *sizes)
        cuts, failed = await to_thread.run_sync(_cut, chunker, group)
        encoded = await encoder.encoding.passages([passage for cut in cuts for passage in cut.passages()])
        return cuts, list(_split(encoded, cuts)), failed


@timed("chunk")
def _cut(chunker: Chunker, group: Sequence[Pending]) -> tuple[list[Cut], Results]:
    cuts, failed = [], {}
    for item in group:
        try:
            cuts.append(Cut(item, chunker.split(item.draft.extracted)))
        except FootnoteError as error:
            failed[item.position] = _failed(item.draft, error)
    return cuts, failed


async def _set_unchanged_aside(
    connection: AsyncConnection,
    collection: CollectionRef,
    pending: Sequence[Pending],
    results: Results,
) -> list[Pending]:
    """Answer for those that stand already as given; return the others."""
    fingerprints = {item.draft.external_id: item.fingerprint for item in pending}
    known = await unchanged(connection, collection, fingerprints)
    results |= {
        item.position: _stored(item.draft, known[item.draft.external_id])
        for item in pending
        if item.draft.external_id in known
    }
    return [item for item in pending if item.draft.external_id not in known]


async def _write_unless_switched(
    connection: AsyncConnection, collection: CollectionRef, made: _Made, finish: Finish
) -> tuple[Release, Results | None]:
    """The release in service, and the results; None when it is not the one that the rows were made for."""
    _, serving = await present_served(connection, collection)
    if serving != made.release:
        return serving, None
    answers = await write_documents(connection, collection, made.rows)
    results = dict(made.failed)
    for cut, part, answer in zip(made.cuts, made.parts, answers, strict=True):
        results[cut.pending.position] = _stored(cut.pending.draft, answer, sum(part.truncated))
    await finish(connection, results)
    return serving, results


async def _go_on(_: AsyncConnection, __: Results) -> None:
    """There is another group to write."""


def _in_order(results: Results) -> tuple[ItemResult, ...]:
    return tuple(results[position] for position in sorted(results))


def _row(release: Release, model_id: str, cut: Cut, encoded: EncodedPassages) -> DocumentRow:
    draft = cut.pending.draft
    return DocumentRow(
        external_id=draft.external_id,
        fingerprint=cut.pending.fingerprint,
        title=draft.title,
        metadata=draft.metadata,
        media_type=draft.extracted.media_type,
        filename=draft.filename,
        text=draft.extracted.text,
        outline=pack_outline(draft.extracted),
        content_hash=draft.content_hash,
        original=draft.original,
        original_hash=draft.original_hash,
        chunking=release.chunking,
        spans=cut.spans,
        model_id=model_id,
        vectors=encoded.vectors,
    )


def _pending(drafts: Sequence[Draft | Rejected]) -> list[Pending]:
    return [
        Pending(position, draft, draft.fingerprint)
        for position, draft in enumerate(drafts)
        if isinstance(draft, Draft)
    ]


def _groups(pending: Iterable[Pending]) -> Iterator[list[Pending]]:
    """Parts of about GROUP_CHARS of text, at least one document each, in their order."""
    group: list[Pending] = []
    chars = 0
    for item in pending:
        group.append(item)
        chars += len(item.draft.extracted.text)
        if chars >= GROUP_CHARS:
            yield group
            group, chars = [], 0
    if group:
        yield group


def _split(encoded: EncodedPassages, cuts: Iterable[Cut]) -> Iterator[EncodedPassages]:
    """The part of each document, in the order of the documents."""
    start = 0
    for cut in cuts:
        end = start + len(cut.spans)
        yield EncodedPassages(encoded.vectors[start:end], encoded.truncated[start:end])
        start = end


def _stored(draft: Draft, stored: Stored, truncated: int = 0) -> ItemResult:
    return ItemResult(draft.external_id, stored.status, stored.version, stored.chunks, truncated)


def _failed(draft: Draft, error: FootnoteError) -> ItemResult:
    return ItemResult(draft.external_id, ItemStatus.ERROR, error=error)


def _rejected(rejected: Rejected) -> ItemResult:
    return ItemResult(rejected.id, ItemStatus.ERROR, error=rejected.error)
