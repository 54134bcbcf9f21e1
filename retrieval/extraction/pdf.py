"""PDF through PDFium: text page by page, lines joined into paragraphs, headings from the outline.

PDFium and not kreuzberg: on the fixtures kreuzberg 4.10 lost half of one report (4,227 of 8,545
characters), wrote one scan twice and kept the hyphens of broken words, and its Markdown made headings of
ordinary lines.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pypdfium2  # type: ignore[import-untyped]
from pypdfium2 import PdfDocument, PdfiumError

from embeddings.errors import Unreadable
from retrieval.extraction.reading import Reading, join_pages
from retrieval.types import Heading, PageSpan

_SOFT_HYPHEN = "\ufffe"  # what PDFium writes for a hyphen at the end of a line
_BROKEN_WORD = re.compile(r"(\w+)\ufffe(\w+)")
_LIST_ITEM = re.compile(r"(?:[-–—•●▪■◦○·*]|\(?(?:\d{1,3}|[a-zA-Z])[.)])\s|\d{1,3}\s")
_SENTENCE_END = (".", "!", "?", ":", "。", "！", "？", "：", '."', ".”", ".)")
_CONTINUING = ",.;:)]%"  # starts no line: PDFium breaks lines around superscripts
_WORD = re.compile(r"\w+(?:-\w+)*")
_CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
_FULL_LINE = 0.7  # share of the page's line width from which a line is taken to run on
_FULL_SENTENCE = 0.9  # the same for a line that ends a sentence: the paragraph may end there too


def read_pdf(data: bytes) -> Reading:
    """Return the text of all pages with page spans; headings are the outline's entries found on their pages.

    Raises Unreadable for broken and encrypted files and for scans without a text layer.
    """
    try:
        document = PdfDocument(data)
    except PdfiumError as error:
        raise _unreadable(error) from error
    try:
        raw_pages = [_page_text(document, number) for number in range(len(document))]
        outline = list(_outline(document))
    finally:
        document.close()
    text, pages = join_pages(_reflow_pages(raw_pages))
    if not text:
        raise Unreadable(
            f"the PDF has {len(raw_pages)} pages and no text layer",
            found="pages without text, probably scans",
            expected="a PDF whose text can be selected",
            next_step="run OCR first, for instance with ocrmypdf, and add the result",
        )
    return Reading(text, headings=tuple(_locate_headings(text, pages, outline)), pages=pages)


def _unreadable(error: PdfiumError) -> Unreadable:
    if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
        return Unreadable(
            "the PDF is protected by a password",
            found="an encrypted PDF",
            expected="a PDF that opens without a password",
            next_step="save it without a password and add it again",
        )
    return Unreadable(
        f"the PDF is broken: {error}",
        found="a PDF that can't be opened",
        expected="a whole PDF file",
        next_step="copy or download the file again, or print it to a new PDF",
    )


def _page_text(document: PdfDocument, number: int) -> str:
    """Return the text of a page, empty when that page alone is damaged."""
    try:
        page = document[number]
        return str(page.get_textpage().get_text_range()).replace("\r\n", "\n").replace("\x00", "")
    except PdfiumError:
        return ""


def _outline(document: PdfDocument) -> Iterator[tuple[int, int, str]]:
    """Yield (level from 1, page number from 1, title) of each bookmark that points at a page."""
    for bookmark in document.get_toc(max_depth=6):
        target = bookmark.get_dest()
        page = target.get_index() if target else None
        title = " ".join((bookmark.get_title() or "").split())
        if page is not None and title:
            yield bookmark.level + 1, page + 1, title


def _locate_headings(
    text: str, pages: tuple[PageSpan, ...], outline: Iterable[tuple[int, int, str]]
) -> Iterator[Heading]:
    """Place each outline entry where a line of its page starts with its words; drop those that stand nowhere.

    One page cut out of a book can carry the outline of the whole book, so an entry's page number proves
    nothing.
    """
    spans = {page.number: page for page in pages}
    reached = 0
    for level, number, title in outline:
        page = spans.get(number)
        words = r"\s+".join(map(re.escape, title.split()[:20]))
        pattern = re.compile(rf"^{words}", re.IGNORECASE | re.MULTILINE)
        match = pattern.search(text, max(page.start, reached), page.end) if page else None
        if match:
            reached = match.end()
            yield Heading(match.start(), level, title)


def _reflow_pages(raw_pages: list[str]) -> list[str]:
    whole = (_BROKEN_WORD.sub(" ", page) for page in raw_pages)
    vocabulary = {word.lower() for page in whole for word in _WORD.findall(page)}
    return [_mend_words(_reflow(page), vocabulary) for page in raw_pages]


def _mend_words(page: str, vocabulary: set[str]) -> str:
    """Join words that were broken at a line end; keep the hyphen of true compounds (`dual-encoder`).

    The document itself tells them apart: by the joined word, the hyphenated one, or both halves elsewhere
    in it.
    """

    def mend(match: re.Match[str]) -> str:
        left, right = match[1], match[2]
        if (left + right).lower() in vocabulary:
            return left + right
        compound = f"{left}-{right}".lower() in vocabulary or right[0].isupper() or right[0].isdigit()
        halves = len(left) > 2 and {left.lower(), right.lower()} <= vocabulary
        return f"{left}-{right}" if compound or halves else left + right

    return _BROKEN_WORD.sub(mend, page).replace(_SOFT_HYPHEN, "-")


def _reflow(page: str) -> str:
    """Join the lines of a paragraph; short lines, list items and blank lines stay apart."""
    lines = [line.strip() for line in page.split("\n")]
    width = _line_width(lines)
    pieces = lines[:1]
    for line, following in pairwise(lines):
        pieces.append(_join(line, following, width))
        pieces.append(following)
    return "".join(pieces)


def _line_width(lines: list[str]) -> int:
    """Return the length that nine in ten characters of the page stand in lines of at most: its column width.

    PDFium joins a line that ends in a hyphen with the next one, so such lines count as two.
    """
    lengths = sorted(len(piece) for line in lines for piece in line.split(_SOFT_HYPHEN))
    total, seen = sum(lengths), 0
    for length in lengths:
        seen += length
        if seen >= 0.9 * total:
            return length
    return 0


def _join(line: str, following: str, width: int) -> str:
    if not line or not following or _LIST_ITEM.match(following):
        return "\n"
    if following[0] in _CONTINUING:
        return ""
    length = len(line.rpartition(_SOFT_HYPHEN)[2])
    ends = line.endswith(_SENTENCE_END)
    full = length >= (_FULL_SENTENCE if ends else _FULL_LINE) * width
    if full or (following[0].islower() and length >= width / 2):
        return "" if _CJK.match(line[-1]) and _CJK.match(following[0]) else " "
    return "\n\n" if ends else "\n"
