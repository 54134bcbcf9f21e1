"""Filters as people write them in a form: a field, a comparison, a value; each row must hold."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from embeddings.errors import InvalidInput

# The comparisons, with their signs as the pages show them.
COMPARISONS: Mapping[str, str] = MappingProxyType({"is": "=", "not": "≠", "min": "≥", "max": "≤", "has": "∃"})


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """One row. field: a metadata field, dots reach into objects; comparison: one of COMPARISONS."""

    field: str
    comparison: str
    value: str

    def to_filter(self) -> dict[str, Any]:
        """The same in the filter language."""
        values = _readings(self.value)
        operation: dict[str, Any]
        match self.comparison:
            case "is":
                operation = {"$in": values}
            case "not":
                operation = {"$nin": values}
            case "has":
                operation = {"$exists": True}
            case bound:
                operation = {"$gte" if bound == "min" else "$lte": values[0]}
        return {self.field: operation}


def conditions_of(rows: Iterable[tuple[str, str, str]]) -> tuple[FieldCondition, ...]:
    """The rows that name a field. Raises InvalidInput for a comparison that there is not."""
    made = []
    for field, comparison, value in rows:
        if not field.strip():
            continue
        if comparison not in COMPARISONS:
            raise InvalidInput(
                f"{comparison!r} is no comparison",
                field="fo",
                found=comparison,
                expected="one of " + ", ".join(COMPARISONS),
            )
        made.append(FieldCondition(field.strip(), comparison, value.strip()))
    return tuple(made)


def filter_of(conditions: Iterable[FieldCondition]) -> dict[str, Any] | None:
    """All rows at once, in the filter language; None where there is none."""
    parts = [condition.to_filter() for condition in conditions]
    return {"$and": parts} if parts else None


def _readings(text: str) -> list[Any]:
    """What a typed value may mean: 2020 the number first, then the text, since a form cannot tell them
    apart.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [value, text] if isinstance(value, bool | int | float) else [text]
