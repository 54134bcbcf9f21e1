"""The passages of a release, with their texts, for a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.documents import unpack_vector
from app.db.following import Wanted
from app.db.marks import standing
from app.db.models import Chunk, Document, DocumentVersion, Vector
from app.services.passages import passage_context

# Of text that is read between two looks at the disk; a longer document comes by itself.
PAGE_CHARS = 4_000_000
PAGE_DOCUMENTS = 256
_CURRENT = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of the current version. context: title and headings, as the encoder reads them before it."""

    chunk_id: int
    ordinal: int
    start: int
    end: int
    context: str
    text: str
    heading_path: tuple[str, ...]

    @property
    def seen(self) -> str:
        """What the encoder reads of it."""
        return f"{self.context}\n{self.text}".strip()


@dataclass(frozen=True, slots=True)
class DocumentPassages:
    """A document with its chunks of one chunking, in their order."""

    key: int
    external_id: str
    version: int
    text: str
    passages: tuple[Passage, ...]


async def next_documents(connection: AsyncConnection, wanted: Wanted, after: int) -> list[DocumentPassages]:
    """The next documents above the key `after`; none at the end."""
    columns = select(Document.id, DocumentVersion.length).join(DocumentVersion, _CURRENT)
    own = (Document.collection_id == wanted.collection_id, Document.id > after, standing())
    rows = await connection.execute(columns.where(*own).order_by(Document.id).limit(PAGE_DOCUMENTS))
    keys, chars = [], 0
    for row in rows.all():
        keys.append(row.id)
        chars += row.length
        if chars >= PAGE_CHARS:
            break
    return await _read(connection, wanted, keys)


async def find_passages(
    connection: AsyncConnection, wanted: Wanted, external_id: str
) -> DocumentPassages | None:
    """One document; None when it is gone."""
    own = (Document.collection_id == wanted.collection_id, Document.external_id == external_id, standing())
    key = await connection.scalar(select(Document.id).where(*own))
    return None if key is None else (await _read(connection, wanted, [key]))[0]


async def read_vectors(
    connection: AsyncConnection, model_id: str, chunk_ids: Sequence[int]
) -> dict[int, Any]:
    """Chunk id to its (dimension,) float16 vector, for those that have one."""
    statement = select(Vector.chunk_id, Vector.data)
    rows = await connection.execute(
        statement.where(Vector.model_id == model_id, Vector.chunk_id.in_(chunk_ids))
    )
    return {row.chunk_id: unpack_vector(row.data) for row in rows}


async def _read(connection: AsyncConnection, wanted: Wanted, keys: Sequence[int]) -> list[DocumentPassages]:
    columns = (Document.id, Document.external_id, Document.version, Document.title, DocumentVersion.text)
    statement = select(*columns).join(DocumentVersion, _CURRENT).where(Document.id.in_(keys))
    documents = (await connection.execute(statement.order_by(Document.id))).all()
    cut = select(Chunk.__table__).where(Chunk.document_id.in_(keys), Chunk.chunking == wanted.chunking)
    chunks: dict[int, list[Row[*tuple[Any, ...]]]] = {row.id: [] for row in documents}
    for chunk in await connection.execute(cut.order_by(Chunk.document_id, Chunk.ordinal)):
        chunks[chunk.document_id].append(chunk)
    return [
        DocumentPassages(
            row.id,
            row.external_id,
            row.version,
            row.text,
            tuple(_passage(row.title, row.text, chunk) for chunk in chunks[row.id]),
        )
        for row in documents
    ]


def _passage(title: str | None, text: str, chunk: Row[*tuple[Any, ...]]) -> Passage:
    part = text[chunk.start : chunk.end]
    headings = tuple(chunk.heading_path)
    context = passage_context(title, headings, part)
    return Passage(chunk.id, chunk.ordinal, chunk.start, chunk.end, context, part, headings)
