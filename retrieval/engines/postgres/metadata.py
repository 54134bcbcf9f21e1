"""Metadata as jsonb, and filters as SQL that means what retrieval.filters means, to the letter.

What PostgreSQL's jsonb cannot hold or would compare otherwise is written in another way, the same for
metadata and for a filter's operands:

    the character U+0000        two characters that sort as it does
    floats from 2**53           all their digits, so that they differ from the integers beside them
    infinities                  an integer beyond every float
    nan                         an empty object, which equals nothing and has no order
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isinf, isnan
from typing import Any

from retrieval.filters import AllOf, AnyOf, Condition, Filter, Not

_BEYOND_FLOATS = 10**400
_ALL_INTEGERS = 2.0**53  # from here on every float is a whole number
_ORDERINGS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

# The value at a dotted path, NULL where there is none: retrieval.filters.field_value.
FIELD_VALUE = """
CREATE OR REPLACE FUNCTION footnote_index.field_value(source jsonb, path text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    dot integer := strpos(path, '.');
    head jsonb;
    rest text;
    found jsonb;
BEGIN
    IF source ? path OR dot = 0 THEN
        RETURN source -> path;
    END IF;
    head := source -> left(path, dot - 1);
    rest := substr(path, dot + 1);
    CASE jsonb_typeof(head)
        WHEN 'object' THEN
            RETURN footnote_index.field_value(head, rest);
        WHEN 'array' THEN
            SELECT jsonb_agg(value) INTO found FROM (
                SELECT footnote_index.field_value(element, rest) AS value
                FROM jsonb_array_elements(head) WITH ORDINALITY AS listed(element, place)
                WHERE jsonb_typeof(element) = 'object' ORDER BY place
            ) AS gathered WHERE value IS NOT NULL;
            RETURN found;
        ELSE
            RETURN NULL;
    END CASE;
END
$$
"""
# The same for a path with one dot: an expression of the row takes a tenth of the time of a function.
_ONE_DOT = (
    "(CASE WHEN metadata ? %s::text THEN metadata -> %s::text"
    " WHEN jsonb_typeof(metadata -> %s::text) = 'object' THEN metadata -> %s::text -> %s::text"
    " WHEN jsonb_typeof(metadata -> %s::text) = 'array'"
    " THEN footnote_index.field_value(metadata, %s::text) END)"
)
# Whether a value, or an element of a list, stands in an order to an operand. Strict: a list inside a list is
# not looked into, and values of another type than the operand's do not match.
COMPARES = """
CREATE OR REPLACE FUNCTION footnote_index.compares(value jsonb, test text, operand jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_path_exists(value,
        (CASE jsonb_typeof(value) WHEN 'array' THEN 'strict $[*] ? (@ ' ELSE 'strict $ ? (@ ' END
        || test || ' $operand)')::jsonpath, operand, TRUE), FALSE)
$$
"""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a statement and the values of its placeholders."""

    text: str
    values: tuple[Any, ...] = ()


def jsonb(value: Any) -> str:
    """A JSON value as the text of a jsonb."""
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def filter_sql(filter_: Filter) -> Sql:
    """A condition on the column `metadata`; it is true or false, never NULL."""
    match filter_:
        case Condition():
            return _condition_sql(filter_)
        case AllOf(filters=filters):
            return _joined([filter_sql(part) for part in filters], " AND ", "TRUE")
        case AnyOf(filters=filters):
            return _joined([filter_sql(part) for part in filters], " OR ", "FALSE")
        case Not(filter=inner):
            return _negated(filter_sql(inner))


def _joined(parts: list[Sql], operator: str, none: str) -> Sql:
    if not parts:
        return Sql(none)
    text = operator.join(part.text for part in parts)
    return Sql(f"({text})", tuple(value for part in parts for value in part.values))


def _negated(inner: Sql) -> Sql:
    return Sql(f"(NOT {inner.text})", inner.values)


def _condition_sql(condition: Condition) -> Sql:
    match condition.operator:
        case "$eq":
            return _equals(condition.field, (condition.operand,))
        case "$in":
            return _equals(condition.field, condition.operand)
        case "$ne":
            return _negated(_equals(condition.field, (condition.operand,)))
        case "$nin":
            return _negated(_equals(condition.field, condition.operand))
        case "$exists":
            present = exists_sql(condition.field)
            return present if condition.operand else _negated(present)
    return _ordered(condition)


def exists_sql(path: str) -> Sql:
    """Whether a document has a field."""
    if "." not in path:
        return Sql("(metadata ? %s::text)", (_text(path),))
    value = _value(path)
    return Sql(f"({value.text} IS NOT NULL)", value.values)


def _equals(path: str, operands: tuple[Any, ...]) -> Sql:
    if "." not in path:
        return _joined(list(_contained(path, operands)), " OR ", "FALSE")
    # A scalar contains what equals it, and a list contains the scalars that stand in it.
    value = _value(path)
    listed = [jsonb(operand) for operand in operands]
    return Sql(f"coalesce({value.text} @> ANY(%s::text[]::jsonb[]), FALSE)", (*value.values, listed))


def _contained(path: str, operands: tuple[Any, ...]) -> Iterator[Sql]:
    """The same so that the index on metadata finds it."""
    wanted = [{path: form} for operand in operands for form in (operand, [operand])]
    if wanted:
        yield Sql("metadata @> ANY(%s::text[]::jsonb[])", ([jsonb(each) for each in wanted],))


def _ordered(condition: Condition) -> Sql:
    value = _value(condition.field)
    operand = jsonb({"operand": condition.operand})
    text = f"footnote_index.compares({value.text}, %s, %s::jsonb)"
    return Sql(text, (*value.values, _ORDERINGS[condition.operator], operand))


def _value(path: str) -> Sql:
    if "." not in path:
        return Sql("(metadata -> %s::text)", (_text(path),))
    if path.count(".") > 1:
        return Sql("footnote_index.field_value(metadata, %s::text)", (_text(path),))
    head, _, rest = map(_text, path.partition("."))
    whole = _text(path)
    return Sql(_ONE_DOT, (whole, whole, head, head, rest, head, whole))


def _storable(value: Any) -> Any:
    match value:
        case str():
            return _text(value)
        case float():
            return _number(value)
        case Mapping():
            return {_text(str(key)): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
    return value


def _text(value: str) -> str:
    """Without U+0000, in the same order, and no two texts alike."""
    if "\x00" not in value and "\x01" not in value:
        return value
    return value.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def _number(value: float) -> Any:
    if isnan(value):
        return {}
    if isinf(value):
        return _BEYOND_FLOATS if value > 0 else -_BEYOND_FLOATS
    return int(value) if abs(value) >= _ALL_INTEGERS else value
