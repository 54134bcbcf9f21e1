"""Rows with columns of many names become pairs, triplets, scored pairs or labelled texts."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from training.siamese.tables import Row, broken, read_table, text_fields
from training.siamese.types import LabelledText, Pair, ScoredPair, TrainingData

_QUERY = ("query", "question", "anchor")
# Where a file has an answer beside the passage it stands in, the passage is what a search shall find.
_POSITIVE = ("positive", "passage", "document", "answer")
_NEGATIVE = re.compile(r"(?:hard_)?negatives?(?:_\d+)?")
_SCORE = ("score", "similarity", "label")
_GROUP = ("group", "document_id")
_EXPECTED = (
    "columns query (or question, anchor) and positive (or passage, document, answer), and if wanted "
    "negative; or sentence1, sentence2 and score; or text and label"
)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a file that matter. second: None for labelled texts."""

    first: str
    second: str | None = None
    score: str | None = None
    negatives: tuple[str, ...] = ()
    group: str | None = None


def read_file(path: Path) -> TrainingData:
    """The examples of a file, by its columns: see `read_sources`. Raises InvalidInput naming the line."""
    rows = read_table(path)
    if not rows:
        raise broken(path, None, "no rows", _EXPECTED)
    columns = _recognise(path, rows)
    if columns.second is None:
        return TrainingData(labelled=tuple(_labelled(path, row, columns) for row in rows))
    if columns.score is None:
        return TrainingData(pairs=tuple(_pair(path, row, columns) for row in rows))
    scores = _scores(path, rows, columns.score)
    scored = (_scored(path, row, columns, score) for row, score in zip(rows, scores, strict=True))
    return TrainingData(scored=tuple(scored))


def _recognise(path: Path, rows: Sequence[Row]) -> _Columns:
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    group = _first(_GROUP, names)
    score = _first(_SCORE, names)
    query, positive = _first(_QUERY, names), _first(_POSITIVE, names)
    if query and positive:
        negatives = tuple(name for name in names if _NEGATIVE.fullmatch(name))
        # Of these a file may also have a label that is a word, which says nothing of the pair.
        if negatives or score is None or not _numeric(rows, score):
            score = None
        return _Columns(query, positive, score, negatives, group)
    if {"sentence1", "sentence2"} <= set(names) and score:
        return _Columns("sentence1", "sentence2", score, group=group)
    if {"text", "label"} <= set(names):
        return _Columns("text", None, "label")
    raise broken(path, rows[0].line, "columns " + ", ".join(names), _EXPECTED, "rename the columns")


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _pair(path: Path, row: Row, columns: _Columns) -> Pair:
    query, positive = text_fields(path, row, (columns.first, columns.second or ""))
    negatives = (text for name in columns.negatives for text in _texts(path, row, name))
    return Pair(query, positive, _group(row, columns, positive), negatives=tuple(dict.fromkeys(negatives)))


def _scored(path: Path, row: Row, columns: _Columns, score: float) -> ScoredPair:
    first, second = text_fields(path, row, (columns.first, columns.second or ""))
    return ScoredPair(first, second, score, _group(row, columns, first))


def _labelled(path: Path, row: Row, columns: _Columns) -> LabelledText:
    (text,) = text_fields(path, row, (columns.first,))
    label = row.values.get("label")
    if not isinstance(label, str | int) or not str(label).strip():
        raise broken(path, row.line, f"label {label!r}", "a word or a whole number")
    return LabelledText(text, str(label).strip())


def _group(row: Row, columns: _Columns, otherwise: str) -> str:
    value = row.values.get(columns.group) if columns.group else None
    return otherwise if value in (None, "") else str(value)


def _texts(path: Path, row: Row, name: str) -> list[str]:
    value = row.values.get(name)
    if isinstance(value, str) and value.startswith('["'):
        value = _list_in_cell(value)
    texts = value if isinstance(value, list) else [value or ""]
    if not all(isinstance(text, str) for text in texts):
        raise broken(path, row.line, f"{name} {value!r:.80}", "a text or a list of texts")
    return [text for text in texts if text.strip()]


def _list_in_cell(cell: str) -> Any:
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return cell  # a text that begins with a bracket


def _scores(path: Path, rows: Sequence[Row], name: str) -> list[float]:
    """Of all rows, scaled to 0..1 by the range of the column."""
    scores: list[float] = []
    for row in rows:
        score = _number(row.values.get(name))
        if score is None or not 0 <= score <= 5:
            raise broken(
                path,
                row.line,
                f"{name} {row.values.get(name)!r}",
                "a number of 0..1 or 0..5",
                "rescale the column, or leave it out",
            )
        scores.append(score)
    scale = 5.0 if max(scores) > 1 else 1.0
    return [score / scale for score in scores]


def _numeric(rows: Sequence[Row], name: str) -> bool:
    return all(_number(row.values.get(name)) is not None for row in rows)


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
