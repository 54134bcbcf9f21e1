"""Questions with known answers, and the files that they are kept in."""

import gzip
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from embeddings.errors import InvalidInput
from generation.types import Source


@dataclass(frozen=True, slots=True)
class Record:
    """One question with the passage it was asked about, empty where the file has none. answers: acceptable
    texts, free ones too; none when it is unanswerable.
    """

    id: str
    question: str
    context: str
    title: str | None
    answers: tuple[str, ...]

    @property
    def answerable(self) -> bool:
        return bool(self.answers)


def read_records(path: Path, limit: int | None = None, *, passages: bool = True) -> list[Record]:
    """The first `limit` questions of a QA file (.jsonl or .jsonl.gz); all when None.

    passages: whether each question must come with its passage. Raises InvalidInput that names the line when
    it is not such a record or the file cannot be read.
    """
    try:
        with _open_text(path) as lines:
            return [
                _parse_record(path, number, line, passages)
                for number, line in islice(enumerate(lines, start=1), limit)
            ]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        expected = "a .jsonl or .jsonl.gz file with one question a line"
        raise InvalidInput(f"{path}: {error}", field="data", found=str(error), expected=expected) from error


def gold_source(record: Record) -> Source:
    """The record's own passage as the document to answer from."""
    return Source(record.id, 1, 0, len(record.context), record.context, record.title)


class _GoldAnswer(msgspec.Struct):
    text: str


class _Line(msgspec.Struct):
    """One line of a QA file; what else it holds is not needed here. title: None in collections without
    titles.
    """

    id: str
    question: str
    answers: list[_GoldAnswer]
    context: str = ""
    is_impossible: bool = False
    title: str | None = None


def _parse_record(path: Path, number: int, line: str, passages: bool) -> Record:
    try:
        parsed = msgspec.json.decode(line, type=_Line)
    except msgspec.MsgspecError as error:
        raise _bad_line(path, number, str(error)) from error
    if passages and not parsed.context:
        raise _bad_line(path, number, "no context, the passage to answer from")
    answers = () if parsed.is_impossible else tuple(answer.text for answer in parsed.answers)
    return Record(parsed.id, parsed.question, parsed.context, parsed.title, answers)


def _bad_line(path: Path, number: int, found: str) -> InvalidInput:
    expected = "a JSON object with id, question, context, answers [{text}] and is_impossible"
    message = f"{path}, line {number}: {found}; expected {expected}"
    return InvalidInput(message, field="data", found=found, expected=expected)


def _open_text(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
