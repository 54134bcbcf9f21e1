"""Find the headings of Markdown text."""

import re
from collections.abc import Iterator

from retrieval.types import Heading

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_ANCHOR = re.compile(r"[ \t]*\{[ \t]*#[^}\n]*\}[ \t]*$")  # `## Title { #anchor }`
_MARKUP = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)|<[^>\n]{1,200}>|[*`]+")
_MAX_TITLE = 300  # code points; a longer "heading" is a paragraph that starts with #
_NOT_PARAGRAPH = re.compile(r"\s*$| {0,3}(?:[>|#]|[-*+][ \t]|\d{1,9}[.)][ \t])")


def iterate_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (start, line with its newline)."""
    for match in _LINE.finditer(text):
        yield match.start(), match[0]


class FenceTracker:
    """Follows fenced code blocks line by line (CommonMark 4.5): a `# comment` in one is no heading."""

    def __init__(self) -> None:
        self._fence = ""
        self._lines = 0

    @property
    def in_code(self) -> bool:
        """Whether a block is open after the last line."""
        return bool(self._fence)

    @property
    def just_opened(self) -> bool:
        """Whether the last line is the first line of code in its block."""
        return self._lines == 2

    def is_code(self, line: str) -> bool:
        """Take the next line in; True inside a block and on its two fence lines."""
        match = _FENCE.match(line)
        if not self._fence:
            self._fence = match[1] if match and "`" not in line[match.end() :] else ""
            self._lines = 1
            return bool(self._fence)
        self._lines += 1
        if match and match[1].startswith(self._fence) and not line[match.end() :].strip():
            self._fence = ""
        return True


def find_markdown_headings(text: str, setext: bool = True) -> tuple[Heading, ...]:
    """Return the headings outside code fences and front matter, in order.

    setext: also take lines underlined with = or -; False for text that a converter wrote, which has none.
    """
    return tuple(_iterate_markdown_headings(text, front_matter_end(text), setext))


def front_matter_end(text: str) -> int:
    """Return where YAML front matter (`---` ... `---` at the very start) ends; 0 without any."""
    if not text.startswith("---\n"):
        return 0
    close = text.find("\n---\n", 3)
    return close + 5 if 0 < close < 10_000 else 0


def _iterate_markdown_headings(text: str, body: int, setext: bool) -> Iterator[Heading]:
    fences = FenceTracker()
    paragraph: tuple[int, str] | None = None  # the single line before, when a setext rule may follow it
    for start, line in iterate_lines(text):
        if start < body:
            continue
        code = fences.is_code(line)
        atx = None if code else _ATX.match(line)
        rule = _SETEXT.match(line) if setext and paragraph and not code else None
        if atx and (title := plain_title(line[atx.end() :].rstrip().rstrip("#"))):
            yield Heading(start, len(atx[1]), title)
        elif rule and paragraph and (title := plain_title(paragraph[1])):
            yield Heading(paragraph[0], 1 if rule[1][0] == "=" else 2, title)
        is_text = not (code or atx or rule or _NOT_PARAGRAPH.match(line))
        paragraph = (start, line) if is_text else None


def plain_title(title: str) -> str:
    """Return a heading's words without anchors, links and emphasis marks."""
    words = _MARKUP.sub(lambda match: match[1] or "", _ANCHOR.sub("", title[:_MAX_TITLE]))
    return " ".join(words.split())
