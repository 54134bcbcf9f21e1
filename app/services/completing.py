"""Makes a release complete: cuts what it has no chunks of, encodes what it has no vectors of.

Each step is a small transaction and takes no sequence number, so writers and searches go on beside it, and
a kill between two steps loses neither: the next call goes on with what is still missing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from anyio import to_thread
from numpy.typing import NDArray
from sqlalchemy import Row

from app.db.completing import (
    IncompleteDocument,
    UnencodedChunk,
    count_incomplete,
    incomplete_chars,
    incomplete_documents,
    read_any_chunks,
    read_texts,
    unencoded_chunks,
    write_chunks,
    write_vectors,
)
from app.db.engine import Database
from app.db.following import Wanted
from app.db.parts import parts_of
from app.encoders import Encoders, OpenEncoder
from app.services.outlines import guess_extracted, restore_extracted
from app.services.release_types import Release
from retrieval.chunking import Chunker
from retrieval.types import ChunkSpan, ExtractedText

# What is cut between two commits: 2 s of encoding on two cores, so that a kill loses little.
GROUP_CHARS = 200_000
GROUP_DOCUMENTS = 256

Progress = Callable[[str, int, int], None]


def wanted_of(release: Release, encoder: OpenEncoder) -> Wanted:
    """What an index for this release holds."""
    return Wanted(release.collection_id, release.chunking, encoder.encoder.model_id, release.engine)


class Completion:
    """Completes releases, whether in service or not.

    Where the encoders name a Ray cluster, what is much is encoded there first; the rest is done here.
    """

    def __init__(self, database: Database, encoders: Encoders) -> None:
        self._steps = CompletionSteps(database)
        self._encoders = encoders

    async def complete(self, release: Release, progress: Progress | None = None) -> int:
        """Add what the release lacks of all that was committed before this call; returns of how many
        documents.

        progress: called with "documents", how many are done, and of how many. Raises ModelDamaged for the
        release's encoder, Overloaded and StorageFull, FootnoteError for a cluster that cannot be used.
        """
        encoder = await self._encoders.of(release)
        wanted = wanted_of(release, encoder)
        steps = self._steps
        total = await steps.count(wanted) if progress or self._encoders.ray else 0
        reached, done = 0, await self._on_ray(release, wanted, encoder, progress, total)
        while group := await steps.next_group(wanted, reached):
            await steps.cut(group, wanted, release, encoder)
            for part in parts_of(await steps.unencoded(group, wanted)):
                encoded = await encoder.encoding.passages([chunk.text for chunk in part])
                await steps.keep(wanted, part, encoded.vectors)
            reached, done = group[-1].seq, done + len(group)
            if progress:
                progress("documents", done, max(done, total))
        return done

    async def _on_ray(
        self, release: Release, wanted: Wanted, encoder: OpenEncoder, progress: Progress | None, total: int
    ) -> int:
        """What a cluster does of it; returns of how many documents."""
        use = self._encoders.ray
        if use is None or not total or await self._steps.chars(wanted) < use.min_chars:
            return 0
        from app.services.completing_on_ray import RayCompletion  # noqa: PLC0415 - Ray only where chosen

        completion = RayCompletion(self._steps, use, encoder)
        return await completion.run(release, wanted, progress or _nobody, total)


def _nobody(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody follows."""


class CompletionSteps:
    """The transactions of a completion, in their order for each group of documents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, wanted: Wanted) -> int:
        """How many documents lack something."""
        async with self._database.read() as connection:
            return await count_incomplete(connection, wanted)

    async def chars(self, wanted: Wanted) -> int:
        """Characters of the documents that lack something."""
        async with self._database.read() as connection:
            return await incomplete_chars(connection, wanted)

    async def next_group(self, wanted: Wanted, reached: int) -> list[IncompleteDocument]:
        """Documents above the sequence number `reached` that lack something; empty at the end."""
        async with self._database.read() as connection:
            found = await incomplete_documents(connection, wanted, reached, GROUP_DOCUMENTS)
        chars = 0
        for count, document in enumerate(found, start=1):
            chars += document.length
            if chars >= GROUP_CHARS:
                return found[:count]
        return found

    async def cut(
        self, group: Sequence[IncompleteDocument], wanted: Wanted, release: Release, encoder: OpenEncoder
    ) -> None:
        """Make the chunks of the documents that have none."""
        keys = [each.key for each in group if each.uncut]
        if not keys:
            return
        texts, seqs = await self._read_texts(keys)
        chunker = await to_thread.run_sync(
            encoder.chunker, release.chunk_max_tokens, release.chunk_overlap_tokens
        )
        spans = await to_thread.run_sync(_split, chunker, texts)
        async with self._database.write() as connection:
            await write_chunks(connection, wanted, spans, seqs)

    async def _read_texts(self, keys: Sequence[int]) -> tuple[dict[int, ExtractedText], dict[int, int]]:
        """Texts with their outlines, and the numbers of the writes that they were read after, by key."""
        texts = {}
        async with self._database.read() as connection:
            rows = await read_texts(connection, keys)
            for row in rows:
                if row.outline is None:
                    chunks = [_span(chunk) for chunk in await read_any_chunks(connection, row.id)]
                    texts[row.id] = guess_extracted(row.text, row.media_type, chunks)
                else:
                    texts[row.id] = restore_extracted(row.text, row.media_type, row.outline)
        return texts, {row.id: row.seq for row in rows}

    async def unencoded(self, group: Sequence[IncompleteDocument], wanted: Wanted) -> list[UnencodedChunk]:
        """The chunks of the documents that have no vector."""
        async with self._database.read() as connection:
            return await unencoded_chunks(connection, wanted, [each.key for each in group])

    async def keep(
        self, wanted: Wanted, part: Sequence[UnencodedChunk], vectors: NDArray[np.float16]
    ) -> None:
        """Write the vectors of some chunks, in their order."""
        async with self._database.write() as connection:
            await write_vectors(connection, wanted.model_id, part, vectors)


def _split(chunker: Chunker, texts: Mapping[int, ExtractedText]) -> dict[int, list[ChunkSpan]]:
    return {key: chunker.split(extracted) for key, extracted in texts.items()}


def _span(row: Row[*tuple[Any, ...]]) -> ChunkSpan:
    return ChunkSpan(row.start, row.end, row.page, tuple(row.heading_path))
