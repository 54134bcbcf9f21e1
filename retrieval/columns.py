"""Metadata as dictionary-encoded columns: a filter is asked once for each distinct value, not for each
document.

A table never changes, so a search may go on using the one it holds; growing makes a new table that takes over
the columns already encoded. A column is encoded when a filter first names its field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.filters import MISSING, AllOf, AnyOf, Condition, Filter, Not, field_value

MAX_KEPT_COLUMNS = 64  # a column costs 4 bytes a document; filters on more fields than this are encoded anew


_EQUALITY = {"$eq", "$in"}
_INEQUALITY = {"$ne", "$nin"}


@dataclass(frozen=True, slots=True)
class Column:
    """One field of every document. codes: (documents,) positions in `values`; values[0] is MISSING.

    code_of: from the identity of a value to its code. compound: codes of lists and objects.
    """

    codes: NDArray[np.int32]
    values: tuple[Any, ...]
    code_of: Mapping[object, int]
    compound: tuple[int, ...]

    @staticmethod
    def empty() -> "Column":
        return Column(np.empty(0, np.int32), (MISSING,), {_identity(MISSING): 0}, ())

    def extended(self, values: Sequence[Any]) -> "Column":
        """The column with the values of further documents."""
        code_of, known, compound = dict(self.code_of), list(self.values), list(self.compound)
        codes = np.empty(len(values), np.int32)
        for i, value in enumerate(values):
            codes[i] = code = code_of.setdefault(_identity(value), len(known))
            if code == len(known):
                known.append(value)
                if isinstance(value, list | tuple | Mapping):
                    compound.append(code)
        return Column(np.concatenate([self.codes, codes]), tuple(known), code_of, tuple(compound))

    def select(self, documents: NDArray[np.int64]) -> "Column":
        return replace(self, codes=self.codes[documents])

    def mask(self, condition: Condition) -> NDArray[np.bool_]:
        """(documents,) whether each passes the condition."""
        if condition.operator in _EQUALITY | _INEQUALITY:
            return self._equal(condition)[self.codes]
        passes = np.fromiter(map(condition.matches, self.values), np.bool_, len(self.values))
        return passes[self.codes]

    def _equal(self, condition: Condition) -> NDArray[np.bool_]:
        """(values,) whether each passes; equal values are looked up, which keeps columns of ids fast."""
        negated = condition.operator in _INEQUALITY
        passes = np.full(len(self.values), negated)
        operands = condition.operand if isinstance(condition.operand, tuple) else (condition.operand,)
        for identity in chain.from_iterable(map(_equal_identities, operands)):
            passes[self.code_of.get(identity, 0)] = not negated
        passes[0] = negated
        for code in self.compound:
            passes[code] = condition.matches(self.values[code])
        return passes


def _identity(value: Any) -> object:
    """A hashable key; values share one only when no filter can tell them apart (1 and true do not)."""
    if isinstance(value, list | tuple):
        return (list, tuple(_identity(item) for item in value))
    if isinstance(value, Mapping):
        return (dict, tuple((key, _identity(item)) for key, item in value.items()))
    return (type(value), value)


def _equal_identities(operand: Any) -> list[object]:
    """The identities of all scalars that equal a filter's operand: 1 is also 1.0."""
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        return [_identity(operand)]
    try:
        other = float(operand) if isinstance(operand, int) else int(operand)
    except OverflowError:  # infinity, or an integer that no float can hold
        return [_identity(operand)]
    return [_identity(number) for number in (operand, other) if number == operand]


@dataclass(frozen=True, slots=True)
class MetadataTable:
    """The metadata of the documents of an index, by position."""

    rows: Sequence[Mapping[str, Any]] = ()
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

    def lacks(self, path: str) -> bool:
        """Whether no document has the field, though there are documents."""
        return bool(self.rows) and not self._column(path).codes.any()

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
