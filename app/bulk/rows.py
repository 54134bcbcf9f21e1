"""Texts out of a large file, one line at a time: JSON lines or CSV, plain or gzipped, or Parquet."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from app.bulk.parquet import read_records
from embeddings.errors import InvalidInput, UnsupportedFormat

# Lines are held whole; a longer one is rather a file that is not one of lines.
MAX_LINE_BYTES = 64 * 1024 * 1024
DEFAULT_ID_FIELDS = ("id", "_id")


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text to embed. line: where it stands, from 1."""

    line: int
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line without a text, and why."""

    line: int
    error: str


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a line matter. text: joined by line breaks, in this order; id: None for `id`, `_id`,
    else the number of the line.
    """

    text: tuple[str, ...] = ("text",)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that are embedded and kept together, and lines between them that could not be."""

    rows: tuple[TextRow, ...]
    bad: tuple[BadLine, ...]


def read_rows(stream: IO[bytes], name: str, fields: Fields) -> Iterator[TextRow | BadLine]:
    """Every line of an open file. name: tells the format, by .jsonl, .csv, .gz after either, and .parquet.

    Raises UnsupportedFormat for another name, InvalidInput for a file that cannot be read on.
    """
    suffix = Path(name.removesuffix(".gz")).suffix
    read = _FORMATS.get(suffix)
    if read is None or (suffix == ".parquet" and name.endswith(".gz")):
        raise UnsupportedFormat(
            f"cannot read texts from {name}",
            found=suffix or "a name without an ending",
            expected=", ".join(_FORMATS) + "; .jsonl, .ndjson and .csv also with .gz",
        )
    if name.endswith(".gz"):
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    try:
        for line, record in read(stream):
            yield record if isinstance(record, BadLine) else _row(line, record, fields)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InvalidInput(f"cannot read {name} to its end: {error}", found=str(error)) from error


def windows(rows: Iterator[TextRow | BadLine], max_lines: int, max_chars: int) -> Iterator[Window]:
    """Cut rows into windows of so many lines or characters; the same file gives the same windows."""
    good: list[TextRow] = []
    bad: list[BadLine] = []
    chars = 0
    for row in rows:
        if isinstance(row, BadLine):
            bad.append(row)
        else:
            good.append(row)
            chars += len(row.text)
        if len(good) + len(bad) >= max_lines or chars >= max_chars:
            yield Window(tuple(good), tuple(bad))
            good, bad, chars = [], [], 0
    if good or bad:
        yield Window(tuple(good), tuple(bad))


def _json_lines(stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(
                f"line {number} is longer than {MAX_LINE_BYTES:,} bytes",
                field=f"line {number}",
                expected="one JSON object a line",
            )
        if stripped := line.removeprefix(b"\xef\xbb\xbf").strip():
            yield number, _decoded(number, stripped)


def _decoded(number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.MsgspecError as error:
        return BadLine(number, f"not JSON: {error}")
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8")


def _csv_lines(stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    try:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        for record in reader:
            yield reader.line_num, record
    except UnicodeDecodeError as error:
        raise InvalidInput("the file is not UTF-8", found=str(error), expected="CSV in UTF-8") from error


_FORMATS: Mapping[str, Callable[[IO[bytes]], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv_lines,
    ".parquet": read_records,
}


def _row(line: int, record: object, fields: Fields) -> TextRow | BadLine:
    if not isinstance(record, dict):
        return BadLine(line, f"found {type(record).__name__}, expected an object with fields")
    texts = [record.get(name) for name in fields.text]
    wrong = [name for name, text in zip(fields.text, texts, strict=True) if not isinstance(text, str | None)]
    if wrong:
        return BadLine(line, f"field {wrong[0]!r} is no text")
    text = "\n".join(text for text in texts if text)
    if not text.strip():
        return BadLine(line, f"no text in {' or '.join(map(repr, fields.text))}; found {_names(record)}")
    names = DEFAULT_ID_FIELDS if fields.id is None else (fields.id,)
    found = next((record[name] for name in names if record.get(name) is not None), None)
    if found is None and fields.id is None:
        found = line
    if not isinstance(found, str | int):
        return BadLine(line, f"no text or whole number as id in {' or '.join(map(repr, names))}")
    return TextRow(line, str(found), text)


def _names(record: Mapping[Any, Any]) -> str:
    return ", ".join(map(repr, list(record)[:10])) or "no fields"
