"""JSON Lines whose lines are documents of their own.

A file is a collection of records when its first line that is not blank is an object with a text in `text`.
Each line is then `{"text", "id"?, "title"?, "metadata"?}`; `_id` is taken for `id`, as in the BEIR corpora.
Any other JSON Lines file is one document (`retrieval.extraction`), and so is every CSV file: there each row
is a paragraph.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import msgspec

from embeddings.errors import FootnoteError, InvalidInput, Unreadable
from retrieval.extraction.decoding import clean_text, decode_text

_SUFFIXES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Record:
    """One line that is a document. line: starts at 1. id: None leaves the choice to the collection."""

    line: int
    text: str
    id: str | None
    title: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """One line that is none, and why."""

    line: int
    error: FootnoteError


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    id: str | int | None = None
    _id: str | int | None = None
    title: str | None = None
    metadata: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Line)


def has_records(data: bytes, filename: str) -> bool:
    """Tell whether each line of the file is a document of its own."""
    if PurePath(filename).suffix.lower() not in _SUFFIXES:
        return False
    try:
        first = next(_lines(decode_text(data)), (0, ""))[1]
        value = msgspec.json.decode(first)
    except (FootnoteError, msgspec.DecodeError, RecursionError):
        return False
    return isinstance(value, dict) and isinstance(value.get("text"), str)


def split_records(data: bytes, filename: str) -> list[Record | BadRecord]:
    """Return one entry for each line that is not blank; a bad line fails alone, with its number.

    Raises Unreadable when the file is not text.
    """
    return [_record(number, line, filename) for number, line in _lines(decode_text(data))]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _record(number: int, line: str, filename: str) -> Record | BadRecord:
    try:
        parsed = _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return BadRecord(number, _invalid(number, filename, str(error)))
    text = clean_text(parsed.text)
    if not text.strip():
        return BadRecord(number, _empty(number, filename))
    given = parsed.id if parsed.id is not None else parsed._id
    title = clean_text(parsed.title).strip() if parsed.title else None
    return Record(number, text, None if given is None else str(given), title or None, parsed.metadata)


def _invalid(number: int, filename: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"line {number} of {filename} is not a document: {reason}",
        field=f"line {number}",
        found=reason,
        expected='{"text": string, "id"?: string, "title"?: string, "metadata"?: object}',
        next_step="repair that line; other keys go under metadata",
    )


def _empty(number: int, filename: str) -> Unreadable:
    return Unreadable(
        f"line {number} of {filename} has an empty text",
        field=f"line {number}",
        found="no text but whitespace",
        expected="a text to search",
        next_step="leave the line out or give it a text",
    )
