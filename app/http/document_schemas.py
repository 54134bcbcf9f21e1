"""Requests and replies for documents. Offsets are Unicode code points, half-open."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from litestar.datastructures import UploadFile
from msgspec import Meta, Struct

from app.http.search_schemas import DocumentId, End, Filter, Start, Version
from app.services.types import DocumentInput, ItemResult, ItemStatus

Metadata = Annotated[
    dict[str, Any],
    Meta(description="Free fields for filters", examples=[{"language": "en", "year": 2024, "tags": ["law"]}]),
]


class NewDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """A document given as text."""

    text: Annotated[
        str, Meta(description="The text", examples=["Plant tomatoes in May, after the last frost."])
    ]
    id: Annotated[
        str | None,
        Meta(description="External id; made from the content when left out", examples=["garden/tomatoes"]),
    ] = None
    title: Annotated[str | None, Meta(description="Title, searched too", examples=["Tomatoes"])] = None
    metadata: Metadata | None = None
    media_type: Annotated[
        str | None, Meta(description="text/plain (default) or text/markdown, whose headings lead the chunks")
    ] = None

    def to_input(self) -> DocumentInput:
        """The same for the service."""
        return DocumentInput(
            text=self.text,
            id=self.id,
            title=self.title,
            metadata=self.metadata or {},
            media_type=self.media_type,
        )


class DocumentBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """Documents to add. Each gets its own status."""

    documents: Annotated[
        list[NewDocument], Meta(min_length=1, description="At least one document; no id twice")
    ]


class FileForm(Struct, frozen=True, forbid_unknown_fields=True):
    """Files to add, as multipart/form-data."""

    file: Annotated[list[UploadFile], Meta(min_length=1, description="The files; the field may be repeated")]
    metadata: Annotated[
        str | None, Meta(description="A JSON object, added to each document", examples=['{"language": "en"}'])
    ] = None


class ItemReply(Struct, frozen=True, omit_defaults=True):
    """What became of one item. error, code, field, found, expected, next: as in problem details, when it
    failed.
    """

    id: str | None
    status: ItemStatus
    version: int | None = None
    chunks: int | None = None
    truncated: Annotated[int, Meta(description="Chunks that the encoder saw only in part")] = 0
    error: str | None = None
    code: Annotated[str | None, Meta(description="Kind of the failure", examples=["too_large"])] = None
    field: str | None = None
    found: str | None = None
    expected: str | None = None
    next: str | None = None

    @classmethod
    def of(cls, result: ItemResult) -> "ItemReply":
        """The reply for one result of the service."""
        if (error := result.error) is None:
            return cls(result.id, result.status, result.version, result.chunks, result.truncated)
        return cls(
            result.id,
            result.status,
            error=error.message,
            code=error.code,
            field=error.field,
            found=error.found,
            expected=error.expected,
            next=error.next_step,
        )


class BatchReply(Struct, frozen=True):
    """One status for each item, in the order of the request."""

    errors: Annotated[bool, Meta(description="True when at least one item failed")]
    items: list[ItemReply]

    @classmethod
    def of(cls, results: Sequence[ItemResult]) -> "BatchReply":
        """The reply for the service's results."""
        failed = any(result.status is ItemStatus.ERROR for result in results)
        return cls(failed, [ItemReply.of(result) for result in results])


class DocumentReply(Struct, frozen=True):
    """A document as it stands now. length: code points; content_hash: SHA-256 of its UTF-8 text, hex."""

    id: DocumentId
    version: Version
    title: str | None
    media_type: str
    filename: str | None
    length: int
    chunks: int
    metadata: dict[str, Any]
    content_hash: str
    created_at: datetime
    updated_at: datetime


class DocumentList(Struct, frozen=True):
    """One page of documents by id. next: the value of `after` for the next page; null on the last."""

    documents: list[DocumentReply]
    next: str | None


class Deletion(Struct, frozen=True, forbid_unknown_fields=True):
    """What to delete: exactly one of ids and filter."""

    ids: Annotated[list[str] | None, Meta(description="External ids; unknown ones are skipped")] = None
    filter: Filter = None


class DeletionReply(Struct, frozen=True):
    """How many documents were deleted."""

    deleted: int


class TextReply(Struct, frozen=True):
    """`text` is the version's text[start:end]; length: of the whole text."""

    document_id: DocumentId
    version: Version
    start: Start
    end: End
    length: int
    text: str
