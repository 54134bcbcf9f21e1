"""What a training learns from, out of the database into the files of its folder."""

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.engine import Database
from app.db.feedback import list_feedback, read_shown_text
from app.db.following import Wanted
from app.db.training_passages import (
    DocumentPassages,
    Passage,
    find_passages,
    next_documents,
    read_vectors,
)
from app.encoders import Encoders, OpenEncoder
from app.services.completing import Progress, wanted_of
from app.services.feedback_types import Feedback
from app.services.release_types import Release

_PAGE_VERDICTS = 500
# Quick: the corpus is written once and read once.
_COMPRESSION = 1


class TrainingFiles:
    """Writes the corpus and the feedback of a collection. Each file appears whole."""

    def __init__(self, database: Database, encoders: Encoders) -> None:
        self._database = database
        self._encoders = encoders

    async def write_corpus(self, path: Path, release: Release, show: Progress, documents: int) -> None:
        """A line for each passage that the release serves. documents: how many there are about."""
        wanted = wanted_of(release, await self._encoders.of(release))
        temporary = path.with_suffix(".tmp")
        after = done = 0
        with gzip.open(temporary, "wt", encoding="utf-8", compresslevel=_COMPRESSION) as file:
            while True:
                async with self._database.read() as connection:
                    page = await next_documents(connection, wanted, after)
                if not page:
                    break
                await to_thread.run_sync(file.writelines, _corpus_lines(page))
                after, done = page[-1].key, done + len(page)
                show("documents read", done, max(done, documents))
        temporary.replace(path)

    async def write_feedback(self, path: Path, collection: CollectionRef, release: Release) -> int:
        """A line for each verdict whose passage still stands; returns how many."""
        encoder = await self._encoders.of(release)
        temporary = path.with_suffix(".tmp")
        after = written = 0
        with temporary.open("w", encoding="utf-8") as file:
            while True:
                async with self._database.read() as connection:
                    page = await list_feedback(connection, collection.id, _PAGE_VERDICTS, after)
                    lines = [await _line(connection, encoder, release, verdict) for verdict in page]
                if not page:
                    break
                kept = [line for line in lines if line is not None]
                file.writelines(kept)
                after, written = page[-1].id, written + len(kept)
        temporary.replace(path)
        return written


def _corpus_lines(page: Iterable[DocumentPassages]) -> list[str]:
    return [
        _json_line(
            {
                "_id": f"{document.external_id}#{passage.ordinal}",
                "title": passage.context,
                "text": passage.text,
                "heading_path": passage.heading_path,
            }
        )
        for document in page
        for passage in document.passages
    ]


async def _line(
    connection: AsyncConnection, encoder: OpenEncoder, release: Release, verdict: Feedback
) -> str | None:
    wanted = wanted_of(release, encoder)
    document = await find_passages(connection, wanted, verdict.document_id)
    if document is None or not document.passages:
        return None
    if verdict.start is None:
        passage = await _nearest(connection, encoder, wanted, verdict.query, document.passages)
    else:
        passage = await _around(connection, wanted, verdict, document)
    if passage is None:
        return None
    told = {"query": verdict.query, "kind": verdict.kind, "document_id": verdict.document_id}
    return _json_line({**told, "passage": passage.seen, "release": verdict.release})


async def _around(
    connection: AsyncConnection, wanted: Wanted, verdict: Feedback, document: DocumentPassages
) -> Passage | None:
    """The passage that holds most of what was shown; None when that is not in the document any more."""
    start, end = verdict.start or 0, verdict.end or 0
    if verdict.version != document.version:
        shown = await read_shown_text(connection, wanted.collection_id, verdict)
        start = -1 if not shown else document.text.find(shown)
        end = start + len(shown or "")
    if start < 0:
        return None
    return max(document.passages, key=lambda each: min(end, each.end) - max(start, each.start))


async def _nearest(
    connection: AsyncConnection,
    encoder: OpenEncoder,
    wanted: Wanted,
    query: str,
    passages: Sequence[Passage],
) -> Passage | None:
    """Of a document that was meant as a whole, the passage that is nearest to the query."""
    known = await read_vectors(connection, wanted.model_id, [each.chunk_id for each in passages])
    candidates = [each for each in passages if each.chunk_id in known]
    if not candidates:
        return None
    vector = (await encoder.encoding.query(query)).vector
    scores = np.stack([known[each.chunk_id] for each in candidates]).astype(np.float32) @ vector
    return candidates[int(scores.argmax())]


def _json_line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
