"""Text to the smallest pieces that a chunk is built of, each with the strength of the border before it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from retrieval.extraction.headings import FenceTracker, iterate_lines
from retrieval.sentences import sentence_starts
from retrieval.types import Heading


class Border(IntEnum):
    """What stands between a segment and the one before it; a chunk is cut best at the strongest."""

    GLUE = 0  # after a heading, before the text it governs
    WORD = 1
    CLAUSE = 2
    SENTENCE = 3
    LINE = 4  # of code, a table or a list
    BLOCK = 5  # paragraph, page
    SECTION = 6  # before a heading


@dataclass(frozen=True, slots=True)
class Segment:
    """A span `[start, end)` without whitespace at its borders.

    level: of the heading it starts with, 0 for none. tokens: 0 until they are counted.
    """

    start: int
    end: int
    border: Border
    level: int = 0
    tokens: int = 0


_MARKED_LINE = re.compile(
    r"""[ \t]*(?:
        (?P<ITEM> (?: [-*+•●▪■◦·] | \(?(?:\d{1,9}|[a-zA-Zа-яА-Я])[.)] ) [ \t])
        | (?P<ROW> \|)
        | (?P<DIRECTIVE> /{3,} | :{3,} | \{[*%!] | <!--)  # admonitions and includes of Markdown dialects
    )""",
    re.VERBOSE,
)
_SETEXT_RULE = re.compile(r" {0,3}(?:=+|-+)\s*$")
_QUOTE_BLANK = re.compile(r"[ \t]*>[>\s]*$")
_CLOSING = re.compile(r"[ \t]*(?:/{3,}|:{3,})\s*$")
_ADMONITION = re.compile(r"[ \t]*(?:/{3,}|:{3,})[ \t]*\w[^\n]*$")
_OPENING = (":", "：")  # a line that ends so belongs to the list or code after it


def split_segments(text: str, headings: Sequence[Heading] = ()) -> list[Segment]:
    """Return the segments in order; together they hold every character of `text` that is no whitespace.

    Headings, paragraphs, list items, table rows and lines of code are kept apart; paragraphs fall into
    sentences.
    """
    levels = {heading.start: heading.level for heading in headings}
    segments: list[Segment] = []
    for block in _Blocks(text, levels).read():
        starts = list(sentence_starts(text, block.start, block.end)) if block.is_prose else [block.start]
        border = block.border
        for start, end in zip(starts, [*starts[1:], block.end], strict=True):
            level = levels.get(start, 0) if border is Border.SECTION else 0
            segment = trim(Segment(start, end, border, level), text)
            if segment.start < segment.end:
                segments.append(segment)
                border = Border.SENTENCE
    return segments


def trim(segment: Segment, text: str) -> Segment:
    """Return the segment without whitespace at its borders; empty when it holds nothing else."""
    piece = text[segment.start : segment.end]
    start = segment.end - len(piece.lstrip())
    end = max(start, segment.start + len(piece.rstrip()))
    return Segment(start, end, segment.border, segment.level, segment.tokens)


class _Kind(IntEnum):
    BLANK = 0
    HEADING = 1
    CODE = 2
    ROW = 3
    ITEM = 4
    DIRECTIVE = 5
    PROSE = 6


@dataclass(slots=True)
class _Block:
    start: int
    end: int
    border: Border
    is_prose: bool

    def last_line(self, text: str) -> str:
        """Return the end of the block, enough of it to see how its last line starts and ends."""
        return text[max(self.start, self.end - 80) : self.end].rstrip().rpartition("\n")[2]


class _Blocks:
    """Groups lines into blocks: paragraphs and list items of several lines, everything else line by line."""

    def __init__(self, text: str, levels: dict[int, int]) -> None:
        self._text = text
        self._levels = levels
        self._fences = FenceTracker()
        self._last = _Kind.BLANK  # kind of the last line that was not blank
        self._after_blank = True
        self._current: _Block | None = None

    def read(self) -> Iterator[_Block]:
        for start, line in iterate_lines(self._text):
            in_code = self._fences.in_code
            kind = self._kind(start, line)
            if kind is _Kind.BLANK:
                self._after_blank = True
                continue
            quote_blank = kind is _Kind.PROSE and _QUOTE_BLANK.match(line)
            if self._current and (quote_blank or self._continues(kind, line)):
                self._current.end = start + len(line)
            else:
                if self._current:
                    yield self._current
                border = self._border(kind, line, in_code)
                is_prose = kind in (_Kind.ITEM, _Kind.PROSE)
                self._current = _Block(start, start + len(line), border, is_prose)
                self._last = kind
            self._after_blank = bool(quote_blank)
        if self._current:
            yield self._current

    def _kind(self, start: int, line: str) -> _Kind:
        code = self._fences.is_code(line)
        if not line.strip():
            return _Kind.BLANK
        if start in self._levels:
            return _Kind.HEADING
        if code:
            return _Kind.CODE
        marked = _MARKED_LINE.match(line)
        return _Kind[marked.lastgroup] if marked and marked.lastgroup else _Kind.PROSE

    def _continues(self, kind: _Kind, line: str) -> bool:
        if self._current is None or self._after_blank:
            return False
        if self._last is _Kind.HEADING:
            return bool(_SETEXT_RULE.match(line))
        return kind is _Kind.PROSE and self._current.is_prose

    def _border(self, kind: _Kind, line: str, in_code: bool) -> Border:
        """Return the border before a new block. in_code: a fenced block was open when its first line came."""
        if self._last is _Kind.HEADING:
            return Border.GLUE  # also before a heading: a title over a first section has no text of its own
        if kind is _Kind.HEADING:
            return Border.SECTION
        if kind is _Kind.CODE and in_code:
            return self._code_border()
        before = self._current.last_line(self._text) if self._current else ""
        if _CLOSING.match(line) or _ADMONITION.match(before):
            return Border.GLUE
        if before.endswith(_OPENING):
            return Border.CLAUSE
        return Border.BLOCK if self._after_blank or kind is not self._last else Border.LINE

    def _code_border(self) -> Border:
        """Keep fences with their code; cut code at its blank lines."""
        if not self._fences.in_code or self._fences.just_opened:
            return Border.GLUE
        return Border.LINE if self._after_blank else Border.CLAUSE
