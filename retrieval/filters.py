"""Metadata filters: parsed and checked once, then asked about single values.

    {"lang": "ru"}                                  the field equals the value
    {"year": {"$gte": 2020, "$lt": 2024}}           every operator must hold
    {"lang": "ru", "tags": {"$in": ["a", "b"]}}     every field must match
    {"$or": [{"author.name": "Ann"}, {"$not": {"draft": true}}]}

Semantics follow MongoDB. A list matches when any of its elements does. Dotted paths reach into nested
objects; a key that holds the dot itself comes first. Values of different types are never equal and never
ordered (numbers compare with numbers, strings with strings; true is not 1); that is no error, there is just
no match. A missing field matches no `$eq`, `$in`, `$gt`, `$gte`, `$lt`, `$lte`, but it does match `$ne`,
`$nin`, `{"$exists": false}` and whatever `$not` turns round. A field that is null exists and equals null.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final, TypeAlias

from embeddings.errors import InvalidInput

MAX_FILTER_DEPTH: Final = 32
MAX_FILTER_CONDITIONS: Final = 1_000

Scalar: TypeAlias = str | int | float | bool | None


class _Missing:
    """The value of a field that a document does not have (None is a value of its own)."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one field. operand: checked at parsing to fit the operator."""

    field: str
    operator: str
    operand: Any

    def matches(self, value: Any) -> bool:
        """Whether a metadata value (MISSING where the document lacks the field) passes."""
        return _OPERATORS[self.operator](value, self.operand)


@dataclass(frozen=True, slots=True)
class AllOf:
    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    filter: "Filter"


Filter: TypeAlias = Condition | AllOf | AnyOf | Not


def matches(filter_: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether one document's metadata passes; the oracle of the column-wise evaluation."""
    match filter_:
        case Condition(field=field):
            return filter_.matches(field_value(metadata, field))
        case AllOf(filters=filters):
            return all(matches(part, metadata) for part in filters)
        case AnyOf(filters=filters):
            return any(matches(part, metadata) for part in filters)
        case Not(filter=inner):
            return not matches(inner, metadata)


def field_value(metadata: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, MISSING where there is none; lists on the way gather the values of their
    objects.
    """
    if path in metadata:
        return metadata[path]
    head, dot, rest = path.partition(".")
    return _descend(metadata[head], rest) if dot and head in metadata else MISSING


def _descend(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return field_value(value, path)
    if isinstance(value, list | tuple):
        found = [_descend(item, path) for item in value if isinstance(item, Mapping)]
        return [item for item in found if item is not MISSING] or MISSING
    return MISSING


def _equal(value: Any, operand: Scalar) -> bool:
    if isinstance(value, bool) or isinstance(operand, bool):
        return value is operand
    return bool(value == operand)


def _comparable(value: Any, operand: Any) -> bool:
    if isinstance(value, bool) or isinstance(operand, bool):
        return False
    numbers = isinstance(value, int | float) and isinstance(operand, int | float)
    return numbers or (isinstance(value, str) and isinstance(operand, str))


def _any_element(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, operand: Any) -> bool:
        if value is MISSING:
            return False
        elements = value if isinstance(value, list | tuple) else (value,)
        return any(test(element, operand) for element in elements)

    return holds


def _negated(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, operand: not test(value, operand)


_equals = _any_element(_equal)
_is_in = _any_element(lambda value, operands: any(_equal(value, operand) for operand in operands))
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$eq": _equals,
    "$ne": _negated(_equals),
    "$in": _is_in,
    "$nin": _negated(_is_in),
    "$gt": _any_element(lambda value, operand: _comparable(value, operand) and value > operand),
    "$gte": _any_element(lambda value, operand: _comparable(value, operand) and value >= operand),
    "$lt": _any_element(lambda value, operand: _comparable(value, operand) and value < operand),
    "$lte": _any_element(lambda value, operand: _comparable(value, operand) and value <= operand),
    "$exists": lambda value, operand: (value is not MISSING) is operand,
}
_ORDERING: Final = frozenset({"$gt", "$gte", "$lt", "$lte"})
_MEMBERSHIP: Final = frozenset({"$in", "$nin"})


def parse_filter(source: object, path: str = "filter") -> Filter:
    """Check a filter given as JSON.

    path: where the filter stands in the request, the start of `field` in errors.
    Raises InvalidInput with the JSON path of the offending part, what was found and what is expected.
    """
    parsed = _parse_object(source, path, 1)
    if sum(1 for _ in conditions(parsed)) > MAX_FILTER_CONDITIONS:
        raise _invalid(path, "a longer filter", f"at most {MAX_FILTER_CONDITIONS} conditions")
    return parsed


def conditions(filter_: Filter) -> Iterator[Condition]:
    """Every condition of a filter, from left to right."""
    match filter_:
        case Condition():
            yield filter_
        case Not(filter=inner):
            yield from conditions(inner)
        case AllOf(filters=filters) | AnyOf(filters=filters):
            for part in filters:
                yield from conditions(part)


def _parse_object(source: object, path: str, depth: int) -> Filter:
    if depth > MAX_FILTER_DEPTH:
        raise _invalid(path, "deeper nesting", f"at most {MAX_FILTER_DEPTH} levels")
    if not isinstance(source, Mapping):
        raise _invalid(path, _describe(source), 'an object such as {"lang": "ru"}')
    return _all_of([_parse_entry(key, value, path, depth) for key, value in source.items()])


def _all_of(parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _parse_entry(key: object, value: object, path: str, depth: int) -> Filter:
    if not isinstance(key, str) or not key:
        raise _invalid(path, _describe(key), "field names that are non-empty strings")
    here = f"{path}.{key}"
    if key in ("$and", "$or"):
        parts = _parse_list(value, here, depth)
        return AllOf(parts) if key == "$and" else AnyOf(parts)
    if key == "$not":
        return Not(_parse_object(value, here, depth + 1))
    if key.startswith("$"):
        raise _invalid(here, key, "a field name, $and, $or or $not")
    return _parse_field(key, value, here, depth)


def _parse_list(value: object, path: str, depth: int) -> tuple[Filter, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise _invalid(path, _describe(value), "a list of at least one filter")
    return tuple(_parse_object(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(value))


def _parse_field(field: str, value: object, path: str, depth: int) -> Filter:
    if not isinstance(value, Mapping):
        _check_scalar(
            value, path, 'a string, number, true, false or null, or operators such as {"$in": [...]}'
        )
        return Condition(field, "$eq", value)
    if not value:
        raise _invalid(path, "an empty object", 'operators such as {"$gte": 2020}')
    return _all_of([_parse_operator(field, key, operand, path, depth) for key, operand in value.items()])


def _parse_operator(field: str, operator: object, operand: object, path: str, depth: int) -> Filter:
    here = f"{path}.{operator}"
    if operator == "$not":
        if depth >= MAX_FILTER_DEPTH:
            raise _invalid(here, "deeper nesting", f"at most {MAX_FILTER_DEPTH} levels")
        if not isinstance(operand, Mapping):
            raise _invalid(here, _describe(operand), 'operators such as {"$gt": 2020}')
        return Not(_parse_field(field, operand, here, depth + 1))
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise _invalid(here, _describe(operator), f"one of {', '.join(_OPERATORS)}, $not")
    _check_operand(operator, operand, here)
    return Condition(field, operator, tuple(operand) if isinstance(operand, list | tuple) else operand)


def _check_operand(operator: str, operand: object, path: str) -> None:
    if operator == "$exists":
        if not isinstance(operand, bool):
            raise _invalid(path, _describe(operand), "true or false")
    elif operator in _MEMBERSHIP:
        if not isinstance(operand, list | tuple):
            raise _invalid(path, _describe(operand), "a list of strings, numbers, booleans or nulls")
        for i, item in enumerate(operand):
            _check_scalar(item, f"{path}[{i}]", "a string, number, true, false or null")
    elif operator in _ORDERING:
        if isinstance(operand, bool) or not isinstance(operand, str | int | float):
            raise _invalid(path, _describe(operand), "a number or a string")
    else:
        _check_scalar(operand, path, "a string, number, true, false or null")


def _check_scalar(value: object, path: str, expected: str) -> None:
    known = value is None or isinstance(value, str | int | float | bool)
    if not known or (isinstance(value, float) and isnan(value)):
        raise _invalid(path, _describe(value), expected)


def _describe(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
    return f"{value!r:.80}"


def _invalid(path: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: found {found}; expected {expected}",
        field=path,
        found=found,
        expected=expected,
        next_step="correct the filter; `retrieval/filters.py` lists the operators",
    )
