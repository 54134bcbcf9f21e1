"""Rows of a file of examples: JSON lines, CSV, TSV or Parquet, each with the line it stands on."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import msgspec
from arro3.io import read_parquet

from embeddings.errors import InvalidInput, NotFound, UnsupportedFormat

# A longer cell is rather a quote that is never closed.
_MAX_CELL = 16 * 1024 * 1024
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class Row:
    """One example as it stands in a file. line: from 1; values: by column name, in lower case."""

    line: int
    values: dict[str, Any]


def read_table(path: Path) -> list[Row]:
    """The rows of a file whose name ends in .jsonl, .ndjson, .csv or .tsv, each also with .gz, or .parquet.

    Raises NotFound for a missing file, UnsupportedFormat for another name, InvalidInput naming the line for
    what cannot be read.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}", field="sources", found=str(path), expected="a file")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    read = _FORMATS.get(suffix)
    if read is None or (suffix == ".parquet" and path.suffix == ".gz"):
        raise UnsupportedFormat(
            f"cannot read examples from {path.name}",
            field="sources",
            found=suffix or "a name without an ending",
            expected=", ".join(_FORMATS) + "; all but the last also with .gz",
        )
    try:
        return list(read(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise broken(path, None, str(error), "a complete gzip file") from error


def broken(path: Path, line: int | None, found: str, expected: str, next_step: str = "") -> InvalidInput:
    """The error for what cannot be read: names file and line."""
    place = path.name if line is None else f"{path.name}, line {line}"
    return InvalidInput(
        f"{place}: found {found}; expected {expected}",
        field="sources",
        found=found,
        expected=expected,
        next_step=next_step or "correct the file and give it again",
    )


def text_fields(path: Path, row: Row, names: Sequence[str]) -> list[str]:
    """Texts of a row; an empty one is the cleaning's matter, one that is missing or no text is an error."""
    for name in names:
        if name not in row.values:
            raise broken(path, row.line, "columns " + ", ".join(row.values), f"also a column {name}")
        if not isinstance(row.values[name], str | None):
            raise broken(path, row.line, f"{name} {row.values[name]!r:.80}", "a text")
    return [row.values[name] or "" for name in names]


def _bytes_of(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _json_lines(path: Path) -> Iterator[Row]:
    with _bytes_of(path) as stream:
        for number, line in enumerate(stream, start=1):
            if stripped := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield Row(number, _lower(_decoded(path, number, stripped)))


def _decoded(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise broken(path, number, f"no JSON ({error})", "one JSON object a line, in UTF-8") from None
    if not isinstance(found, dict):
        raise broken(path, number, type(found).__name__, "one JSON object a line")
    return found


def _comma_separated(path: Path) -> Iterator[Row]:
    return _separated(path, ",", csv.QUOTE_MINIMAL)


def _tab_separated(path: Path) -> Iterator[Row]:
    # Spreadsheets quote cells; the judgements and triples of data sets have quotes that mean themselves.
    try:
        return iter(list(_separated(path, "\t", csv.QUOTE_MINIMAL)))
    except InvalidInput:
        return _separated(path, "\t", csv.QUOTE_NONE)


def _separated(path: Path, delimiter: str, quoting: Any) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)
    with io.TextIOWrapper(_bytes_of(path), encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            for values in reader:
                _check_cells(path, reader.line_num, values, reader.fieldnames or ())
                yield Row(reader.line_num, _lower(values))
        except csv.Error as error:
            raise broken(path, reader.line_num, str(error), "cells quoted as spreadsheets do") from None
        except UnicodeDecodeError as error:
            raise broken(path, reader.line_num + 1, str(error), "text in UTF-8") from None


def _check_cells(path: Path, line: int, values: dict[Any, Any], names: Any) -> None:
    expected = f"{len(names)} cells, as the first line has"
    if None in values:
        raise broken(path, line, f"{len(names) + len(values[None])} cells", expected)
    if None in values.values():
        present = sum(value is not None for value in values.values())
        raise broken(path, line, f"{present} cells", expected)


def _parquet(path: Path) -> Iterator[Row]:
    _check_magic(path)
    number = 0
    try:
        for batch in read_parquet(path):
            columns = {name: batch[name].to_pylist() for name in batch.column_names}
            for index in range(batch.num_rows):
                number += 1
                yield Row(number, _lower({name: cells[index] for name, cells in columns.items()}))
    except Exception as error:  # arro3 has no class of its own for what is broken
        raise broken(path, number + 1, str(error), "a row of a Parquet file") from error


def _check_magic(path: Path) -> None:
    """arro3 panics, with a trace on stderr, at a file that is no Parquet or was cut."""
    data = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(len(_PARQUET_MAGIC))
        stream.seek(max(data - len(_PARQUET_MAGIC), 0))
        last = stream.read()
    if data < 12 or (first, last) != (_PARQUET_MAGIC, _PARQUET_MAGIC):
        raise broken(path, None, "no complete Parquet file", "`PAR1` at both ends")


def _lower(values: dict[Any, Any]) -> dict[str, Any]:
    return {str(name).strip().lower(): value for name, value in values.items()}


_FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".parquet": _parquet,
}
