"""A document as it is read: a stretch of its text with a span marked, its pages and its headings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from app.db.collections import find_collection
from app.db.outlines import find_outline
from app.pages.formats import reflow
from app.resources import Resources
from app.services.types import DocumentInfo, TextRange
from embeddings.errors import InvalidInput
from retrieval.types import Heading, PageSpan

CONTEXT = 6000  # code points on each side of the span; a screen holds about 3000
MAX_HEADINGS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is opened. Offsets are code points; None: not said.

    start, end: the span that is marked. first, last: the stretch that is shown.
    """

    version: int | None = None
    start: int | None = None
    end: int | None = None
    first: int | None = None
    last: int | None = None

    def query(self, first: int, last: int, part: str | None = None) -> str:
        """The address of another stretch, with the same span. part: of the page, for htmx."""
        pairs = {"v": self.version, "s": self.start, "e": self.end, "a": first, "z": last, "part": part}
        return urlencode({name: value for name, value in pairs.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text. marked: it is the span; page: it is no text but the start of this page."""

    text: str
    marked: bool = False
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What a reader sees. page: of the span. earlier, later: the stretches beside it; None at the ends."""

    document: DocumentInfo
    place: Place
    shown: TextRange
    pieces: tuple[Piece, ...]
    page: int | None
    headings: tuple[Heading, ...]
    earlier: tuple[int, int] | None
    later: tuple[int, int] | None

    @property
    def outdated(self) -> bool:
        """A newer version than this one is there."""
        return self.shown.version < self.document.version


async def read(resources: Resources, collection: str, document_id: str, place: Place) -> Excerpt:
    """The document at a place. Raises NotFound, and InvalidInput for a place outside the text."""
    document = await resources.documents.get(collection, document_id)
    length = await _length(resources, collection, document, place.version)
    first, last = _window(place, length)
    shown = await resources.documents.text(collection, document_id, place.version, first, last)
    outline = await _outline(resources, collection, document, shown.version)
    pages = [PageSpan(*page) for page in outline["pages"]]
    return Excerpt(
        document=document,
        place=Place(shown.version, place.start, place.end, first, last),
        shown=shown,
        pieces=tuple(_pieces(shown, place, pages)),
        page=_page_at(place.start, pages),
        headings=tuple(Heading(*heading) for heading in outline["headings"][:MAX_HEADINGS]),
        earlier=(max(0, first - CONTEXT), first) if first else None,
        later=(last, min(length, last + CONTEXT)) if last < length else None,
    )


async def _length(resources: Resources, collection: str, document: DocumentInfo, version: int | None) -> int:
    if version is None or version == document.version:
        return document.length
    return (await resources.documents.text(collection, document.id, version, 0, 0)).length


async def _outline(
    resources: Resources, collection: str, document: DocumentInfo, version: int
) -> dict[str, Any]:
    """Of the current version; those of older ones are not kept."""
    if version != document.version:
        return {"pages": [], "headings": []}
    async with resources.database.read() as connection:
        return dict(
            await find_outline(connection, await find_collection(connection, collection), document.id)
        )


def _window(place: Place, length: int) -> tuple[int, int]:
    """What is shown: the stretch that was asked for, else what surrounds the span, else the beginning."""
    _check_span(place, length)
    start, end = place.start or 0, place.end or 0
    first = max(0, start - CONTEXT) if place.first is None else place.first
    last = min(length, max(end, start) + CONTEXT) if place.last is None else min(place.last, length)
    return min(first, last), last


def _check_span(place: Place, length: int) -> None:
    start, end = place.start, place.end
    if start is None and end is None:
        return
    if start is None or end is None or not 0 <= start <= end <= length:
        raise InvalidInput(
            f"the span {start} to {end} is not in the document",
            field="s",
            found=f"{start} to {end}",
            expected=f"0 <= s <= e <= {length}, the length of the text",
            next_step="leave v, s and e out to read from the beginning",
        )


def _pieces(shown: TextRange, place: Place, pages: Sequence[PageSpan]) -> Iterator[Piece]:
    """The text cut where the span and the pages start and end."""
    text = reflow(shown.text)
    starts = {page.start: page.number for page in pages}
    span = (place.start, place.end) if place.start is not None and place.end is not None else (-1, -1)
    cuts = {shown.start, shown.end, *starts, *span}
    inside = sorted(cut for cut in cuts if shown.start <= cut <= shown.end)
    for start, end in zip(inside, [*inside[1:], shown.end], strict=True):
        if start in starts:
            yield Piece("", page=starts[start])
        if start == span[0] == span[1]:  # a heading: a place without a length
            yield Piece("", marked=True)
        if end > start:
            marked = span[0] <= start and end <= span[1]
            yield Piece(text[start - shown.start : end - shown.start], marked)


def _page_at(offset: int | None, pages: Sequence[PageSpan]) -> int | None:
    if offset is None:
        return None
    return next((page.number for page in pages if page.start <= offset < page.end), None)
