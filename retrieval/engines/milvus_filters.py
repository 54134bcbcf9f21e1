"""Filters as Milvus expressions over the fields of `milvus_terms`.

Only forms that mean the same on every server are used: membership in `terms`, comparison with a bound,
`and`, `or`, and `not` before a membership. A row that its fields do not tell everything about may pass, too;
it has a `rest`, by which the caller checks it.
"""

import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Final

from retrieval.engines.milvus_terms import (
    NEVER,
    UNTOLD,
    bound,
    equality,
    exactness,
    existence,
    numbers,
    texts,
)
from retrieval.filters import AllOf, AnyOf, Condition, Filter, Not

_SIGNS: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_HALF: Final = re.compile("[\ud800-\udfff]")
_AFTER_HALVES: Final = "\ue000"
_OPPOSITE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


def expression(filter_: Filter) -> str:
    """Passed by every row that the filter lets through, and of the others only by some that have a `rest`."""
    return f"({_expression(filter_, False)} or {_has(UNTOLD)})"


def _expression(filter_: Filter, negated: bool) -> str:
    """The filter, or its negation: `not` goes down to the conditions, where rows of doubt pass either way."""
    match filter_:
        case Condition():
            return _condition(filter_, negated)
        case Not(filter=inner):
            return _expression(inner, not negated)
        case AllOf(filters=filters):
            return _joined([_expression(part, negated) for part in filters], not negated)
        case AnyOf(filters=filters):
            return _joined([_expression(part, negated) for part in filters], negated)


def _joined(parts: Sequence[str], every: bool) -> str:
    if not parts:
        return _lacks(NEVER) if every else _has(NEVER)
    return f"({(' and ' if every else ' or ').join(parts)})"


def _condition(condition: Condition, negated: bool) -> str:
    path, operand = condition.field, condition.operand
    match condition.operator:
        case "$exists":
            return _has(existence(path)) if operand != negated else _lacks(existence(path))
        case "$eq" | "$ne" | "$in" | "$nin":
            operands = operand if isinstance(operand, tuple) else (operand,)
            terms = [equality(path, each) for each in operands]
            wanted = (condition.operator in ("$eq", "$in")) != negated
            return _has(*terms) if wanted else _lacks(*terms)
    return _ordering(condition, negated)


def _ordering(condition: Condition, negated: bool) -> str:
    path, sign, operand = condition.field, _SIGNS[condition.operator], condition.operand
    upward = sign.startswith(">")
    if isinstance(operand, str):
        sign, text = _storable(upward, sign, operand)
        kind, side, literal = texts(path), "]" if upward else "[", json.dumps(text, ensure_ascii=False)
    else:
        sign, double = _double(upward, sign, operand)
        kind, side, literal = numbers(path), ">" if upward else "<", repr(double)
    key = f'bounds["{bound(path, side)}"]'
    compared = (
        [_lacks(kind), f"{key} {_OPPOSITE[sign]} {literal}"] if negated else [f"{key} {sign} {literal}"]
    )
    return _joined([*compared, _has(exactness(path))], False)


def _storable(upward: bool, sign: str, operand: str) -> tuple[str, str]:
    """The same comparison with a text that UTF-8 can carry; no stored text has halves of surrogate pairs."""
    half = _HALF.search(operand)
    if half is None:
        return sign, operand
    return (">=" if upward else "<"), operand[: half.start()] + _AFTER_HALVES


def _double(upward: bool, sign: str, operand: int | float) -> tuple[str, float]:
    """The same comparison with a finite double; it means the same for values that are finite doubles."""
    try:
        nearest = float(operand)
    except OverflowError:
        nearest = math.inf if operand > 0 else -math.inf
    if nearest == operand and math.isfinite(nearest):
        return sign, nearest
    below = nearest if nearest < operand or nearest == -math.inf else math.nextafter(nearest, -math.inf)
    if below == -math.inf:
        return (">=" if upward else "<"), -sys.float_info.max
    return (">" if upward else "<="), below


def _has(*terms: int) -> str:
    if len(terms) == 1:
        return f"array_contains(terms, {terms[0]})"
    return f"array_contains_any(terms, [{', '.join(map(str, terms))}])" if terms else _has(NEVER)


def _lacks(*terms: int) -> str:
    return f"(not {_has(*terms)})"
