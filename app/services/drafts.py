"""From what a client sent to documents that passed every check. Pure and slow: run it in a thread.

A document that fails is turned into a rejection, so that it fails alone.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.services.metadata import check_id, check_metadata, check_text, check_title
from app.services.types import DocumentInput
from embeddings.errors import FootnoteError, InvalidInput, TooLarge, UnsupportedFormat
from retrieval.extraction import extract
from retrieval.extraction.formats import FileKind
from retrieval.extraction.headings import find_markdown_headings
from retrieval.types import ExtractedText

# What may be given as text though its markup is not for readers: it is stored without it.
MARKUP_TYPES = (FileKind.HTML, FileKind.RST, FileKind.XML, FileKind.JSON)
# Digits of a content hash that serve as the id of a document without one; 96 bits do not collide by chance.
CONTENT_ID_DIGITS = 24


@dataclass(frozen=True, slots=True)
class Draft:
    """A document that passed the checks and is not stored yet.

    original: the bytes that were sent; None for a document given as text.
    """

    external_id: str
    title: str | None
    metadata: dict[str, Any]
    extracted: ExtractedText
    filename: str | None = None
    original: bytes | None = None

    @property
    def content_hash(self) -> str:
        """SHA-256 of the text in UTF-8, hex."""
        return _sha256(self.extracted.text.encode())

    @property
    def original_hash(self) -> str:
        """SHA-256 of the bytes that were sent, hex."""
        return self.content_hash if self.original is None else _sha256(self.original)

    @property
    def fingerprint(self) -> str:
        """SHA-256, hex, over all that a client can change about the document."""
        parts = (
            self.content_hash,
            self.original_hash,
            self.extracted.media_type,
            self.title,
            self.metadata,
            repr((self.extracted.pages, self.extracted.headings)),
        )
        return _sha256(json.dumps(parts, sort_keys=True).encode())


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that fails, and why. id: None when it has none."""

    id: str | None
    error: FootnoteError


def draft_texts(items: Sequence[DocumentInput], max_text_bytes: int) -> list[Draft | Rejected]:
    """Check documents that were given as text; one answer for each, in their order."""
    return reject_duplicates(
        [draft_text(item, max_text_bytes) for item in items], (item.id for item in items)
    )


def reject_duplicates(
    drafts: Sequence[Draft | Rejected], ids: Iterable[str | None]
) -> list[Draft | Rejected]:
    """Reject every document whose id, as the client gave it, stands more than once in the batch.

    Which of them should win can't be known, so none is written. Documents without an id are not concerned.
    """
    given = list(ids)
    counts = Counter(document_id for document_id in given if document_id is not None)
    return [
        draft
        if document_id is None or counts[document_id] == 1
        else _duplicate(document_id, counts[document_id])
        for draft, document_id in zip(drafts, given, strict=True)
    ]


def check_size(text: str, max_text_bytes: int) -> str:
    """The text, if it is short enough. Raises TooLarge."""
    # No code point takes less than a byte: a text far too long is not encoded first.
    size_bytes = len(text) if len(text) > max_text_bytes else len(text.encode())
    if size_bytes > max_text_bytes:
        raise TooLarge(
            f"the text has {size_bytes} bytes or more; expected at most {max_text_bytes}",
            field="text",
            found=f"{size_bytes} bytes",
            expected=f"at most {max_text_bytes} bytes of UTF-8",
            next_step="split the text into several documents, or raise FOOTNOTE_MAX_TEXT_BYTES",
        )
    return text


def draft_text(item: DocumentInput, max_text_bytes: int) -> Draft | Rejected:
    """Check one document that was given as text."""
    try:
        if item.id is not None:
            check_id(item.id)
        text = _check_not_empty(check_size(check_text(item.text, "text"), max_text_bytes))
        extracted = _read_text(text, item.media_type)
        title, metadata = check_title(item.title) or extracted.title, check_metadata(item.metadata)
        document_id = item.id or _content_id(extracted, title, metadata)
        return Draft(document_id, title, metadata, extracted)
    except FootnoteError as error:
        return Rejected(item.id, error)


def _read_text(text: str, media_type: str | None) -> ExtractedText:
    """Plain text and Markdown are kept to the letter, because the client counts its offsets in what it
    sent.
    """
    match media_type:
        case None | FileKind.TEXT:
            return ExtractedText(text, FileKind.TEXT)
        case FileKind.MARKDOWN:
            headings = find_markdown_headings(text)
            title = next((heading.title for heading in headings if heading.level == 1), None)
            return ExtractedText(text, media_type, title, headings=headings)
        case _ if media_type in MARKUP_TYPES:
            return extract(text.encode(), "", media_type)
        case _:
            raise UnsupportedFormat(
                f"a document given as text cannot be {media_type[:80]!r}",
                field="media_type",
                found=media_type[:80],
                expected=", ".join((FileKind.TEXT, FileKind.MARKDOWN, *MARKUP_TYPES)),
                next_step="send it as a file, or as text/plain to keep it as it is",
            )


def _check_not_empty(text: str) -> str:
    if not text.strip():
        raise InvalidInput(
            "the text is empty",
            field="text",
            found="no characters" if not text else "only white space",
            expected="text to search in",
            next_step="leave the document out",
        )
    return text


def _content_id(extracted: ExtractedText, title: str | None, metadata: dict[str, Any]) -> str:
    content = json.dumps((extracted.text, extracted.media_type, title, metadata), sort_keys=True)
    return _sha256(content.encode())[:CONTENT_ID_DIGITS]


def _duplicate(document_id: str, count: int) -> Rejected:
    error = InvalidInput(
        f"the id {document_id!r} stands {count} times in this batch; none of them was written",
        field="id",
        found=f"{count} times {document_id!r}",
        expected="ids that differ",
        next_step="send one document for each id",
    )
    return Rejected(document_id, error)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
