"""HTML to Markdown that reads well as a quote: headings, lists, tables and code stay, links and styling go.

Written on selectolax since the converters that were tried put more than the page's words into the text:
link targets, base64 images, meta tags as front matter, and layout tables as one row of thousands of
characters.
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from retrieval.extraction.reading import Reading

_DROPPED_TAGS = """
    script style noscript template svg math iframe object canvas audio video nav button select input textarea
    head
    """
_BLOCK_TAGS = """
    address article aside blockquote body center dd details dialog div dl dt fieldset figcaption figure footer
    form header hgroup hr html legend li main ol p section summary table tbody td tfoot th thead tr ul
    """
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_MIN_MAIN_CHARS = 200  # a shorter <main> is a shell that scripts fill in
_MAX_CELL_CHARS = 1_000  # a longer cell is page layout, not data
_SPACES = re.compile(r"[ \t\n\r\f\v\u00a0]+")
_SELF_CLOSED = re.compile(
    r"<(title|script|style|textarea|iframe|a|p|div|span|i|b|em|td|th)(\s[^<>]*)?/>", re.IGNORECASE
)


def read_html(markup: str) -> Reading:
    """Return the visible text of an HTML page as Markdown, without navigation, scripts and form controls."""
    tree = LexborHTMLParser(markup)
    title_node = tree.css_first("title")
    title = _collapse(title_node.text()) if title_node else ""
    tree.strip_tags(_DROPPED_TAGS.split())
    root = _content_root(tree)
    return Reading(_MarkdownWriter().render(root) if root is not None else "", title or None)


def read_xhtml(markup: str) -> Reading:
    """Like `read_html`, for XML syntax: an HTML parser reads `<title/>` as open and swallows the page."""
    return read_html(_SELF_CLOSED.sub(r"<\1\2></\1>", markup))


def _content_root(tree: LexborHTMLParser) -> LexborNode | None:
    main = tree.css("main")
    if len(main) == 1 and len(main[0].text()) >= _MIN_MAIN_CHARS:
        return main[0]
    return tree.body or tree.root


def _collapse(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


class _MarkdownWriter:
    """Collects blocks of Markdown while the tree is walked."""

    def __init__(self) -> None:
        self._blocks: list[
            tuple[str, str]
        ] = []  # (kind, text); neighbours of one kind "line" share a paragraph
        self._inline: list[str] = []
        self._lists: list[int | None] = []  # next number of each open list, None for bullets
        self._marker = ""

    def render(self, root: LexborNode) -> str:
        """Walk the tree in order with a stack of its own, so that no depth of nesting can overflow."""
        stack = [(root, True)]
        while stack:
            node, entering = stack.pop()
            if not entering:
                self._leave(node)
            elif not self._enter(node):
                stack.append((node, False))
                stack.extend((child, True) for child in reversed(list(node.iter(include_text=True))))
        self._flush()
        return self._joined()

    def _enter(self, node: LexborNode) -> bool:
        """Take in a node; True when it is done and its children are not to be walked."""
        tag = node.tag
        if tag == "-text":
            self._inline.append(node.text_content or "")
            return True
        if tag == "br":
            self._inline.append("\x00")
        elif tag == "pre":
            self._write_code(node)
            return True
        elif tag == "table" and (rows := _data_rows(node)):
            self._flush()
            self._blocks.extend(("line", row) for row in rows)
            self._blocks.append(("end", ""))
            return True
        elif tag in _HEADINGS:
            self._flush()
            self._marker = "#" * _HEADINGS[tag] + " "
        elif tag in _BLOCKS:
            self._open_block(tag)
        elif tag in ("code", "kbd", "samp"):
            self._inline.append("`")
        return False

    def _leave(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in _HEADINGS or tag in _BLOCKS:
            self._flush()
            self._marker = ""
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
                if not self._lists:
                    self._blocks.append(("end", ""))
        elif tag in ("code", "kbd", "samp"):
            self._inline.append("`")

    def _open_block(self, tag: str) -> None:
        self._flush()
        if tag in ("ul", "ol"):
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            number = self._lists[-1] if self._lists else None
            indent = "  " * max(0, len(self._lists) - 1)
            self._marker = indent + ("- " if number is None else f"{number}. ")
            if number is not None:
                self._lists[-1] = number + 1

    def _write_code(self, node: LexborNode) -> None:
        self._flush()
        code = node.text().strip("\n")
        fenced = node.css_first("code") is not None or "\n#" in "\n" + code
        fence = "~~~~" if "```" in code else "```"
        if code.strip():
            self._blocks.append(("text", f"{fence}\n{code}\n{fence}" if fenced else code))

    def _flush(self) -> None:
        lines = [_collapse(line) for line in "".join(self._inline).split("\x00")]
        self._inline.clear()
        text = "\n".join(lines).strip()
        if not text.replace("`", "").strip():
            return
        if self._marker.startswith("#"):
            text = text.replace("\n", " ")
        kind = "text" if not self._marker or self._marker.startswith("#") else "line"
        self._blocks.append((kind, self._marker + text))
        self._marker = ""

    def _joined(self) -> str:
        pieces: list[str] = []
        before = "end"
        for kind, text in self._blocks:
            if text:
                pieces.append("" if not pieces else "\n" if before == kind == "line" else "\n\n")
                pieces.append(text)
            before = kind
        return "".join(pieces)


def _data_rows(table: LexborNode) -> list[str]:
    """Return the rows of a table of data as `| a | b |`, or [] when the table only lays out the page."""
    if table.css_first("table table, h1, h2, h3, h4, ul, pre") is not None:
        return []
    rows = [[_cell_text(cell) for cell in row.css("td, th")] for row in table.css("tr")]
    if any(len(cell) > _MAX_CELL_CHARS for row in rows for cell in row):
        return []
    rows = [row for row in rows if any(row)]
    if not any(sum(map(bool, row)) > 1 for row in rows):
        return []
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cell_text(cell: LexborNode) -> str:
    return _collapse(_MarkdownWriter().render(cell))
