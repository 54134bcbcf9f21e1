"""Files to text: what is stored, searched and quoted, with the pages and headings in it.

extract(bytes, filename) ──► kind by content and name ──► decoded text, or a worker process that parses it
                         ──► cleaned text + title + pages + headings, within limits, or an error with a reason
"""

from pathlib import PurePath

from embeddings.errors import TooLarge, Unreadable
from retrieval.extraction.containers import check_container
from retrieval.extraction.decoding import clean_text, decode_text
from retrieval.extraction.formats import BINARY_KINDS, FileKind, detect_binary_kind, detect_text_kind
from retrieval.extraction.headings import find_markdown_headings
from retrieval.extraction.reading import Reading
from retrieval.extraction.sandbox import DEFAULT_TIMEOUT_S, Sandbox
from retrieval.extraction.structured import read_json, read_json_lines
from retrieval.types import ExtractedText, Heading

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_TEXT_CHARS = 20_000_000
_ZIP_KINDS = BINARY_KINDS - {FileKind.PDF, FileKind.DOC}
_EMPTY_TITLES = frozenset(  # what programs write when nobody gave a title
    (
        "untitled",
        "untitled document",
        "document",
        "presentation",
        "powerpoint presentation",
        "slide 1",
        "title",
    )
)

_sandbox = Sandbox()


def extract(
    data: bytes,
    filename: str,
    media_type: str | None = None,
    *,
    max_bytes: int = MAX_FILE_BYTES,
    max_text_chars: int = MAX_TEXT_CHARS,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> ExtractedText:
    """Read one file. Blocking: up to `timeout_s` seconds of parsing, so keep it off the event loop.

    filename: its extension counts where the content does not tell (Markdown, CSV). media_type: what the
    sender claims; counts where neither tells. max_text_chars: code points of text that are accepted. Raises
    UnsupportedFormat, Unreadable or TooLarge, each with what was found, expected and the next step.
    """
    _check_size(data, filename, max_bytes)
    kind = detect_binary_kind(data)
    if kind is None:
        text = decode_text(data, declares_encoding=True)
        kind = detect_text_kind(text, filename, media_type)
        reading = _read_text(kind, text, filename, timeout_s)
    else:
        if kind in _ZIP_KINDS:
            check_container(data)
        reading = _sandbox.read(kind, data, timeout_s)
    return _finish(reading, kind, filename, max_text_chars)


def _check_size(data: bytes, filename: str, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise TooLarge(
            f"{filename} has {len(data):,} bytes; the limit is {max_bytes:,}",
            found=f"{len(data):,} bytes",
            expected=f"at most {max_bytes:,} bytes",
            next_step="split the file",
        )
    if not data:
        raise _no_text(filename, "is empty (0 bytes)")


def _read_text(kind: FileKind, text: str, filename: str, timeout_s: float) -> Reading:
    if not text.strip():
        raise _no_text(filename, "holds only whitespace")
    if kind is FileKind.MARKDOWN:
        return Reading(text)
    if kind is FileKind.TEXT:
        return Reading(text, headings=())
    if kind is FileKind.JSON:
        return read_json(text)
    if kind is FileKind.JSON_LINES:
        return read_json_lines(text)
    return _sandbox.read(kind, text.encode(), timeout_s)


def _finish(reading: Reading, kind: FileKind, filename: str, max_text_chars: int) -> ExtractedText:
    """Check and clean what was read; readers give text that cleaning leaves as long as it was."""
    text = clean_text(reading.text)
    if len(text) > max_text_chars:
        raise TooLarge(
            f"{filename} holds {len(text):,} characters of text; the limit is {max_text_chars:,}",
            found=f"{len(text):,} characters",
            expected=f"at most {max_text_chars:,} characters",
            next_step="split the document",
        )
    if not text.strip():
        raise _no_text(filename, f"is a {kind.name} file without text")
    headings = reading.headings
    if headings is None:
        headings = find_markdown_headings(text, setext=kind is FileKind.MARKDOWN)
    return ExtractedText(text, kind.value, _title(reading, kind, headings), reading.pages, headings)


def _title(reading: Reading, kind: FileKind, headings: tuple[Heading, ...]) -> str | None:
    """Return the title in the file's metadata, else its first heading of the highest level (no sheet)."""
    title = " ".join(clean_text(reading.title or "").split()).removeprefix("Microsoft Word - ")
    if title and title.lower() not in _EMPTY_TITLES:
        return title
    highest = min(headings, key=lambda heading: heading.level, default=None)
    return highest.title if highest and kind is not FileKind.XLSX else None


def _no_text(filename: str, found: str) -> Unreadable:
    name = PurePath(filename).name or "the file"
    return Unreadable(
        f"{name} {found}",
        found=found,
        expected="a file with text in it",
        next_step="check the file; if it holds scans or pictures, run OCR on it first",
    )
