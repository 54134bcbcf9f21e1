"""DOCX, PPTX, XLSX, ODT, RTF, DOC and reStructuredText through kreuzberg, and its Markdown made quotable."""

import re
from itertools import pairwise

from kreuzberg import ExtractionConfig, ExtractionResult, KreuzbergError, PageConfig, extract_bytes_sync

from embeddings.errors import Unreadable
from retrieval.extraction.formats import FileKind
from retrieval.extraction.reading import Reading, join_pages

_IMAGE = re.compile(r"!\[([^\]\n]{0,500})\]\((?:<[^>\n]*>|[^)\n]*)\)")
_LINK = re.compile(r"\[([^\]\n]{0,500})\]\((?:<[^>\n]{0,2000}>|[^)\n]{0,2000})\)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*\n]{1,1000}?)(?<=\S)\1(?![\w*])")
_RULE_ROW = re.compile(r"\|(?:\s*:?-+:?\s*\|)+\s*$")
_BLANK_LINES = re.compile(r"\n{3,}")


def read_office(data: bytes, kind: FileKind) -> Reading:
    """Return the document as Markdown, the slides of a presentation as pages.

    Runs without OCR, cache and network. Raises Unreadable when kreuzberg can't read it.
    """
    config = ExtractionConfig(
        use_cache=False,
        disable_ocr=True,  # type: ignore[call-arg]  # its stubs lack it
        enable_quality_processing=False,
        output_format="markdown",
        pages=PageConfig(extract_pages=kind is FileKind.PPTX),
    )
    try:
        result = extract_bytes_sync(data, kind.value, config)
    except KreuzbergError as error:
        raise _unreadable(kind, str(error)) from error
    title = result.metadata.get("title") or None
    if kind is FileKind.PPTX:
        text, pages = join_pages([clean_markdown(slide) for slide in _slides(result)])
        return Reading(text, title, pages)
    return Reading(clean_markdown(result.content), title)


def _unreadable(kind: FileKind, reason: str) -> Unreadable:
    if "password" in reason.lower() or "encrypt" in reason.lower():
        return Unreadable(
            f"the {kind.name} file is protected by a password",
            found="an encrypted file",
            expected="a file that opens without a password",
            next_step="save it without a password and add it again",
        )
    return Unreadable(
        f"the {kind.name} file is broken: {reason}",
        found="contents that can't be read",
        expected=f"a whole {kind.name} file",
        next_step="open it in its program, save it again and add that",
    )


def _slides(result: ExtractionResult) -> list[str]:
    """Cut the content at the page boundaries, which kreuzberg gives in UTF-8 bytes."""
    content = result.content.encode()
    boundaries = (result.metadata.get("pages") or {}).get("boundaries") or []
    if not boundaries:
        return [result.content]
    starts = [0, *(boundary["byte_start"] for boundary in boundaries[1:]), len(content)]
    return [content[start:end].decode("utf-8", "ignore") for start, end in pairwise(starts)]


def clean_markdown(markdown: str) -> str:
    """Take out what a quote should not show: escapes, link targets, images, emphasis, empty table cells."""
    lines: list[str] = []
    in_code = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        if in_code or line.startswith("```"):
            lines.append(line)
        elif not _RULE_ROW.match(line):
            cleaned = _clean_line(line)
            if cleaned or not line.strip():
                lines.append(cleaned)
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _clean_line(line: str) -> str:
    line = _LINK.sub(r"\1", _IMAGE.sub("", line.replace("\xa0", " ")))
    line = _ESCAPE.sub(r"\1", _EMPHASIS.sub(r"\2", line)).rstrip()
    if line.startswith("|") and line.endswith("|"):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        while cells and not cells[-1]:
            cells.pop()
        return f"| {' | '.join(cells)} |" if cells else ""
    return "" if line.strip() in ("-", "•", "*") else line
