"""Where the pages and headings of a stored text start, so that it can be cut again as it was at first."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from retrieval.extraction.formats import FileKind
from retrieval.extraction.headings import find_markdown_headings
from retrieval.types import ChunkSpan, ExtractedText, Heading, PageSpan


def pack_outline(extracted: ExtractedText) -> dict[str, Any]:
    """The outline as it is stored."""
    return {
        "pages": [[page.number, page.start, page.end] for page in extracted.pages],
        "headings": [[heading.start, heading.level, heading.title] for heading in extracted.headings],
    }


def restore_extracted(text: str, media_type: str, outline: Mapping[str, Any]) -> ExtractedText:
    """The text with its stored outline."""
    pages = tuple(PageSpan(*page) for page in outline["pages"])
    return ExtractedText(text, media_type, None, pages, tuple(Heading(*each) for each in outline["headings"]))


def guess_extracted(text: str, media_type: str, chunks: Sequence[ChunkSpan]) -> ExtractedText:
    """The text with what its chunks tell of its outline, for documents stored before outlines were.

    Pages come out exactly, since no chunk spans two. Of the headings of a text that is not Markdown, those
    that no chunk starts under are lost.
    """
    if media_type == FileKind.MARKDOWN:
        headings = tuple(find_markdown_headings(text))
    else:
        headings = tuple(_headings(chunks))
    return ExtractedText(text, media_type, None, tuple(_pages(chunks, len(text))), headings)


def _pages(chunks: Sequence[ChunkSpan], length: int) -> Iterator[PageSpan]:
    starts: dict[int, int] = {}
    for chunk in chunks:
        if chunk.page is not None:
            starts.setdefault(chunk.page, chunk.start)
    for (number, start), (_, end) in pairwise([*starts.items(), (0, length)]):
        yield PageSpan(number, start, end)


def _headings(chunks: Sequence[ChunkSpan]) -> Iterator[Heading]:
    before: tuple[str, ...] = ()
    for chunk in chunks:
        path = chunk.heading_path
        if path != before:
            shared = sum(1 for _ in _shared(before, path))
            # A path that only lost its end starts again at its last title.
            first = min(shared, max(len(path) - 1, 0))
            for level, title in enumerate(path[first:], start=first + 1):
                yield Heading(chunk.start, level, title)
        before = path


def _shared(before: Sequence[str], path: Sequence[str]) -> Iterator[str]:
    for old, new in zip(before, path, strict=False):
        if old != new:
            return
        yield new
