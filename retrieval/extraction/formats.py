"""Which kind of file this is: by content first, then by name, then by the media type the sender claims."""

import io
import zipfile
from enum import StrEnum
from pathlib import PurePath

from embeddings.errors import Unreadable, UnsupportedFormat

READABLE = (
    "Markdown, plain text, HTML, reStructuredText, PDF, DOCX, PPTX, XLSX, ODT, EPUB, RTF, DOC, "
    "CSV, TSV, JSON, JSON Lines, XML"
)


class FileKind(StrEnum):
    """A kind of file that can be read; the value is its media type."""

    MARKDOWN = "text/markdown"
    TEXT = "text/plain"
    HTML = "text/html"
    RST = "text/x-rst"
    CSV = "text/csv"
    TSV = "text/tab-separated-values"
    JSON = "application/json"
    JSON_LINES = "application/jsonl"
    XML = "application/xml"
    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    ODT = "application/vnd.oasis.opendocument.text"
    EPUB = "application/epub+zip"
    RTF = "application/rtf"
    DOC = "application/msword"


BINARY_KINDS = frozenset(
    {FileKind.PDF, FileKind.DOCX, FileKind.PPTX, FileKind.XLSX, FileKind.ODT, FileKind.EPUB, FileKind.DOC}
)

_EXTENSIONS = {
    **dict.fromkeys((".md", ".markdown", ".mdx", ".mkd"), FileKind.MARKDOWN),
    **dict.fromkeys((".txt", ".text", ".log"), FileKind.TEXT),
    **dict.fromkeys((".html", ".htm", ".xhtml"), FileKind.HTML),
    **dict.fromkeys((".rst", ".rest"), FileKind.RST),
    **dict.fromkeys((".jsonl", ".ndjson"), FileKind.JSON_LINES),
    ".csv": FileKind.CSV,
    **dict.fromkeys((".tsv", ".tab"), FileKind.TSV),
    ".json": FileKind.JSON,
    ".xml": FileKind.XML,
    ".pdf": FileKind.PDF,
    ".docx": FileKind.DOCX,
    ".pptx": FileKind.PPTX,
    ".xlsx": FileKind.XLSX,
    ".odt": FileKind.ODT,
    ".epub": FileKind.EPUB,
    ".rtf": FileKind.RTF,
    ".doc": FileKind.DOC,
}

_MEDIA_TYPES = {
    **{kind.value: kind for kind in FileKind},
    "application/xhtml+xml": FileKind.HTML,
    "application/x-ndjson": FileKind.JSON_LINES,
    "application/x-jsonlines": FileKind.JSON_LINES,
    "text/rtf": FileKind.RTF,
    "text/xml": FileKind.XML,
    "text/x-markdown": FileKind.MARKDOWN,
    "text/prs.fallenstein.rst": FileKind.RST,
}

_IMAGE = "an image", "run OCR on it first and add the text"
_ARCHIVE = "an archive", "unpack it and add the files in it"
_MEDIA = "audio or video", "add a transcript instead"
_PROGRAM = "a program or database file", f"add one of: {READABLE}"
_FOREIGN_MAGIC = (
    (b"\x89PNG\r\n", *_IMAGE),
    (b"\xff\xd8\xff", *_IMAGE),
    (b"GIF8", *_IMAGE),
    (b"II*\x00", *_IMAGE),
    (b"MM\x00*", *_IMAGE),
    (b"\x1f\x8b", *_ARCHIVE),
    (b"BZh", *_ARCHIVE),
    (b"7z\xbc\xaf'\x1c", *_ARCHIVE),
    (b"Rar!\x1a", *_ARCHIVE),
    (b"(\xb5/\xfd", *_ARCHIVE),
    (b"\xfd7zXZ", *_ARCHIVE),
    (b"ID3", *_MEDIA),
    (b"OggS", *_MEDIA),
    (b"fLaC", *_MEDIA),
    (b"RIFF", "an image, audio or video", _MEDIA[1]),
    (b"\x7fELF", *_PROGRAM),
    (b"MZ\x90", *_PROGRAM),
    (b"SQLite format 3\x00", *_PROGRAM),
    (b"PAR1", *_PROGRAM),
)
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PDF_HEADER_BYTES = (
    1024  # readers accept the header anywhere in the first kilobyte (PDF 1.7, appendix H, note 13)
)


def detect_binary_kind(data: bytes) -> FileKind | None:
    """Tell a kind of file by its first bytes, or return None: then it is text, or nothing that can be read.

    Raises UnsupportedFormat for known kinds that hold no text, Unreadable for broken or encrypted containers.
    """
    if b"%PDF-" in data[:_PDF_HEADER_BYTES]:
        return FileKind.PDF
    if data.startswith(_ZIP_MAGIC):
        return _zip_kind(data)
    if data.startswith(_OLE_MAGIC):
        return _ole_kind(data)
    if data.startswith(b"{\\rtf"):
        return FileKind.RTF
    for magic, found, next_step in _FOREIGN_MAGIC:
        if data.startswith(magic):
            raise _unsupported(found, next_step)
    return None


def detect_text_kind(text: str, filename: str, media_type: str | None) -> FileKind:
    """Tell the kind of a decoded file by its name, then the claimed media type, then how it starts.

    Raises Unreadable when the name promises a binary format: such a file is damaged or misnamed.
    """
    named = _EXTENSIONS.get(PurePath(filename).suffix.lower())
    claimed = _MEDIA_TYPES.get((media_type or "").partition(";")[0].strip().lower())
    kind = named or claimed or _sniffed(text)
    if kind in BINARY_KINDS or kind is FileKind.RTF:
        raise Unreadable(
            f"{filename} is named or sent as {kind.name} but holds plain text",
            found="text without the header of that format",
            expected=f"a {kind.name} file",
            next_step="export the file again, or rename it to .txt if plain text is what it is",
        )
    return kind


def _sniffed(text: str) -> FileKind:
    start = text[:512].lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return FileKind.HTML
    return FileKind.XML if start.startswith("<?xml") else FileKind.TEXT


def _zip_kind(data: bytes) -> FileKind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            declared = archive.read("mimetype")[:80].decode("latin-1").strip() if "mimetype" in names else ""
    except (zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        raise Unreadable(
            f"the file is a broken ZIP container: {error}",
            found="a ZIP header without a readable directory",
            expected="a whole DOCX, PPTX, XLSX, ODT or EPUB file",
            next_step="copy or download the file again",
        ) from error
    if declared in (FileKind.ODT, FileKind.EPUB):
        return FileKind(declared)
    for name, kind in (
        ("word/document.xml", FileKind.DOCX),
        ("ppt/presentation.xml", FileKind.PPTX),
        ("xl/workbook.xml", FileKind.XLSX),
    ):
        if name in names:
            return kind
    raise _unsupported(f"a ZIP archive ({declared})" if declared else "a ZIP archive", _ARCHIVE[1])


def _ole_kind(data: bytes) -> FileKind:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise Unreadable(
            "the Office file is protected by a password",
            found="an encrypted package",
            expected="a file that opens without a password",
            next_step="save it without a password and add it again",
        )
    if "WordDocument".encode("utf-16-le") in data:
        return FileKind.DOC
    raise _unsupported(
        "an Office file of before 2007 that is no Word document", "save it as PPTX, XLSX or PDF"
    )


def _unsupported(found: str, next_step: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"the file is {found}, which can't be read as text",
        found=found,
        expected=READABLE,
        next_step=next_step,
    )
