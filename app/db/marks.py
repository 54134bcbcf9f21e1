"""The marks that a mass delete leaves on documents until their rows are removed."""

from sqlalchemy import ColumnElement, Integer, literal, select

from app.db.dialects import byte_is_one
from app.db.models import DeletionPage, Document

PAGE_KEYS = 256
PAGE_BITS = PAGE_KEYS.bit_length() - 1


def is_deleted() -> ColumnElement[bool]:
    """Whether the row of `documents` was deleted and only waits to be removed."""
    return select(DeletionPage.page).where(marks_document()).correlate(Document).exists()


def standing() -> ColumnElement[bool]:
    """Whether the row of `documents` is there for readers."""
    return ~is_deleted()


def marks_document() -> ColumnElement[bool]:
    """Whether the row of `deletion_pages` marks the row of `documents`."""
    position = Document.id.bitwise_and(PAGE_KEYS - 1) + 1
    in_page = DeletionPage.page == Document.id.bitwise_rshift(literal(PAGE_BITS, Integer))
    return in_page & byte_is_one(DeletionPage.marks, position)
