"""Queries whose right documents are known, from people's judgements or from clicks: JSON lines in UTF-8.

    {"query": "leave days", "relevant": ["handbook/leave.md"]}      right documents
    {"query": "leave days", "relevant": {"handbook/leave.md": 2}}   with grades above 0 for right ones
    {"query": "leave days", "clicked": ["handbook/leave.md"]}       a line of a click log

Lines of the same query are one query; the higher grade of a document holds. A click counts as grade 1. People
click what stands high more often than what is right (Joachims et al., SIGIR 2005), so clicks favour the
ranking that they were made on.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.errors import InvalidInput, NotFound

_FORM = (
    'an object with "query" and either "relevant" (document ids, or id: grade) or "clicked" (document ids)'
)


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """grades: document id -> grade; above 0 is right."""

    query: str
    grades: Mapping[str, int]


def read_judgements(path: Path) -> list[JudgedQuery]:
    """The queries of a file that have a right document, in the order of their first lines.

    Raises NotFound without the file, InvalidInput for a line that is not as above, with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise NotFound(f"no file {path}", field="judgements", found="no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return _merged(_parse(line, path, number) for number, line in numbered)


def _merged(read: Iterable[JudgedQuery]) -> list[JudgedQuery]:
    grades: dict[str, dict[str, int]] = {}
    for judged in read:
        known = grades.setdefault(judged.query, {})
        for document, grade in judged.grades.items():
            known[document] = max(grade, known.get(document, 0))
    return [
        JudgedQuery(query, found) for query, found in grades.items() if max(found.values(), default=0) > 0
    ]


def _parse(line: str, path: Path, number: int) -> JudgedQuery:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError:
        row = None
    query, grades = (row.get("query"), _grades(row)) if isinstance(row, dict) else (None, None)
    if not isinstance(query, str) or not query.strip() or grades is None:
        raise _broken(path, f"line {number}: {line[:80]!r}")
    return JudgedQuery(query.strip(), grades)


def _grades(row: Mapping[str, Any]) -> dict[str, int] | None:
    """The grades of a line; None when it has another form."""
    if ("relevant" in row) == ("clicked" in row):
        return None
    given = row.get("relevant", row.get("clicked"))
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        return dict.fromkeys(given, 1)
    graded = "relevant" in row and isinstance(given, dict)
    if graded and all(type(grade) is int and grade >= 0 for grade in given.values()):
        return dict(given)
    return None


def _broken(path: Path, found: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: found {found}; expected {_FORM}", field="judgements", found=found, expected=_FORM
    )
