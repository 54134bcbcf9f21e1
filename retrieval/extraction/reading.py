"""What a reader makes of one file, before headings are found and limits are checked."""

from dataclasses import dataclass

from retrieval.types import Heading, PageSpan


@dataclass(frozen=True, slots=True)
class Reading:
    """Text of one file. headings: None when they stand in the text as Markdown and are found there."""

    text: str
    title: str | None = None
    pages: tuple[PageSpan, ...] = ()
    headings: tuple[Heading, ...] | None = None


def join_pages(pages: list[str]) -> tuple[str, tuple[PageSpan, ...]]:
    """Return the pages as one text with a blank line between, and the span of each page that holds text."""
    pieces: list[str] = []
    spans: list[PageSpan] = []
    length = 0
    for number, raw_page in enumerate(pages, start=1):
        page = raw_page.strip()
        if not page:
            continue
        if pieces:
            pieces.append("\n\n")
            length += 2
        spans.append(PageSpan(number, length, length + len(page)))
        pieces.append(page)
        length += len(page)
    return "".join(pieces), tuple(spans)
