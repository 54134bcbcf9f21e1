"""Metadata as dictionary-encoded columns: a filter is asked once for each distinct value, not for each
document.

A table never changes, so a search may go on using the one it holds; growing makes a new table that takes over
the columns already encoded. A column is encoded when a filter first names its field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import MISSING, AllOf, AnyOf, Condition, Filter, Not, field_value

MAX_KEPT_COLUMNS = 64  # a column costs 4 bytes a document; filters on more fields than this are encoded anew


@dataclass(frozen=True, slots=True)
class Column:
    """One field of every document. codes: (documents,) positions in `values`; values[0] is MISSING."""

    codes: NDArray[np.int32]
    values: tuple[Any, ...]
    code_of: Mapping[object, int]

    @staticmethod
    def empty() -> "Column":
        return Column(np.empty(0, np.int32), (MISSING,), {_identity(MISSING): 0})

    def extended(self, values: Sequence[Any]) -> "Column":
        """The column with the values of further documents."""
        code_of, known = dict(self.code_of), list(self.values)
        codes = np.empty(len(values), np.int32)
        for i, value in enumerate(values):
            codes[i] = code = code_of.setdefault(_identity(value), len(known))
            if code == len(known):
                known.append(value)
        return Column(np.concatenate([self.codes, codes]), tuple(known), code_of)

    def select(self, documents: NDArray[np.int64]) -> "Column":
        return Column(self.codes[documents], self.values, self.code_of)

    def mask(self, condition: Condition) -> NDArray[np.bool_]:
        """(documents,) whether each passes the condition."""
        passes = np.fromiter(map(condition.matches, self.values), np.bool_, len(self.values))
        return passes[self.codes]


def _identity(value: Any) -> object:
    """A hashable key; values share one only when no filter can tell them apart (1 and true do not)."""
    if isinstance(value, list | tuple):
        return (list, tuple(_identity(item) for item in value))
    if isinstance(value, Mapping):
        return (dict, tuple((key, _identity(item)) for key, item in value.items()))
    return (type(value), value)


@dataclass(frozen=True, slots=True)
class MetadataTable:
    """The metadata of the documents of an index, by position."""

    rows: tuple[Mapping[str, Any], ...] = ()
    columns: dict[str, Column] = field(default_factory=dict)  # a cache: filling it changes no answer

    def extended(self, rows: Sequence[Mapping[str, Any]]) -> "MetadataTable":
        kept = {path: column.extended(_values(rows, path)) for path, column in self.columns.copy().items()}
        return MetadataTable((*self.rows, *rows), kept)

    def select(self, documents: NDArray[np.int64]) -> "MetadataTable":
        """Only the documents at these positions, in this order."""
        kept = {path: column.select(documents) for path, column in self.columns.copy().items()}
        return MetadataTable(tuple(self.rows[i] for i in documents.tolist()), kept)

    def mask(self, filter_: Filter) -> NDArray[np.bool_]:
        """(documents,) whether each passes the filter."""
        match filter_:
            case Condition(field=path):
                return self._column(path).mask(filter_)
            case AllOf(filters=filters):
                return self._combined(filters, np.logical_and, True)
            case AnyOf(filters=filters):
                return self._combined(filters, np.logical_or, False)
            case Not(filter=inner):
                return ~self.mask(inner)

    def _combined(self, filters: Sequence[Filter], operation: np.ufunc, start: bool) -> NDArray[np.bool_]:
        result = np.full(len(self.rows), start)
        for part in filters:
            operation(result, self.mask(part), out=result)
        return result

    def _column(self, path: str) -> Column:
        column = self.columns.get(path) or Column.empty().extended(_values(self.rows, path))
        if len(self.columns) < MAX_KEPT_COLUMNS:
            self.columns.setdefault(path, column)
        return column


def _values(rows: Sequence[Mapping[str, Any]], path: str) -> list[Any]:
    return [field_value(row, path) for row in rows]
