"""Files that decoders are measured on, and their lines."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NoReturn, TypeVar

import msgspec

from embeddings.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A line that asks something. passages: what the bundled decoder answers from; a causal decoder gets them
    before the question. choices: texts of which `gold` is the right one, by index; none when the answer is
    free. answers: acceptable texts, the one to learn from first.
    """

    line: int
    question: str
    passages: tuple[str, ...]
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    gold: int = 0


class _TextLine(msgspec.Struct):
    text: str


class _AnswerText(msgspec.Struct):
    text: str


class _AskedLine(msgspec.Struct):
    """prompt and question are the same field, for two kinds of data sets."""

    prompt: str | None = None
    question: str | None = None
    context: str | list[str] | None = None
    answers: list[str | _AnswerText] | None = None
    answer: int | str | None = None
    choices: list[str] | None = None


def read_texts(path: Path, limit: int | None = None) -> list[str]:
    """The texts of a JSON Lines file ({"text"}), or a file of any other kind as one text.

    limit: lines. Raises InvalidInput that names the line.
    """
    if _is_lines(path):
        return _read_lines(path, lambda number, line: _decode(path, number, line, _TextLine).text, limit)
    with _opened(path) as stream:
        text = stream.read()
    if not text.strip():
        _refuse(f"{path} is empty", "no text", "a text")
    return [text]


def read_choices(path: Path, limit: int | None = None) -> list[Asked]:
    """Multiple choice: question or prompt, context (a text or several) if any, choices, and answer (index
    from 0, or the text of a choice). Raises InvalidInput that names the line.
    """
    return _read_lines(path, lambda number, line: _choice(path, number, line), limit)


def read_asked(path: Path, limit: int | None = None) -> list[Asked]:
    """Free answers: question or prompt, context (a text or several) if any, answers or answer.

    Raises InvalidInput that names the line.
    """
    return _read_lines(path, lambda number, line: _asked(path, number, line), limit)


def has_texts(path: Path) -> bool:
    """Whether the file holds texts, not questions: the first line tells. Raises InvalidInput."""
    if not _is_lines(path):
        return True
    first = _read_lines(path, lambda number, line: _decode(path, number, line, dict[str, object]), 1)[0]
    return "text" in first


def _choice(path: Path, number: int, line: str) -> Asked:
    found = _decode(path, number, line, _AskedLine)
    choices = found.choices or []
    if len(choices) < 2 or not all(choices):
        _refuse_line(path, number, f"choices {choices!r}", "two choices or more, none empty")
    if isinstance(found.answer, str) and found.answer in choices:
        gold = choices.index(found.answer)
    elif isinstance(found.answer, int) and 0 <= found.answer < len(choices):
        gold = found.answer
    else:
        expected = f"the text of a choice, or its index from 0 to {len(choices) - 1}"
        _refuse_line(path, number, f"answer {found.answer!r}", expected)
    return Asked(
        number,
        _question(path, number, found),
        _passages(found),
        (choices[gold],),
        tuple(choices),
        gold,
    )


def _asked(path: Path, number: int, line: str) -> Asked:
    found = _decode(path, number, line, _AskedLine)
    given = found.answers if found.answer is None else [str(found.answer)]
    answers = tuple(each if isinstance(each, str) else each.text for each in given or [])
    if not answers or not all(answers):
        _refuse_line(path, number, f"answers {list(answers)!r}", "one answer or more, none empty")
    return Asked(number, _question(path, number, found), _passages(found), answers)


def _question(path: Path, number: int, line: _AskedLine) -> str:
    given = [each for each in (line.prompt, line.question) if each]
    if len(given) != 1:
        _refuse_line(path, number, f"{len(given)} of them", "either `prompt` or `question`, not empty")
    return given[0]


def _passages(line: _AskedLine) -> tuple[str, ...]:
    if line.context is None:
        return ()
    return (line.context,) if isinstance(line.context, str) else tuple(line.context)


def _decode(path: Path, number: int, line: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        fields = getattr(kind, "__struct_fields__", ("text",))
        _refuse_line(path, number, str(error), f"a JSON object with fields of {', '.join(fields)}")


def _read_lines(path: Path, parse: Callable[[int, str], T], limit: int | None) -> list[T]:
    """Empty lines are passed over, and counted."""
    with _opened(path) as stream:
        lines = ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
        found = [parse(number, line) for number, line in islice(lines, limit)]
    if not found:
        _refuse(f"{path} holds no line", "0 lines", "at least one")
    return found


def _is_lines(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The text of a file, also of a compressed one. Raises InvalidInput where it cannot be read."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as stream
        ):
            yield stream
    except (OSError, EOFError, UnicodeDecodeError) as error:
        _refuse(f"{path}: {error}", str(error), "a readable file of UTF-8 text, or .gz of one")


def _refuse_line(path: Path, number: int, found: str, expected: str) -> NoReturn:
    _refuse(f"{path}, line {number}: found {found}; expected {expected}", found, expected)


def _refuse(message: str, found: str, expected: str) -> NoReturn:
    raise InvalidInput(message, field="data", found=found[:200], expected=expected)
