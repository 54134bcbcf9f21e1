"""A filter that is asked about documents where the database hands over the values that it needs."""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from retrieval.filters import AllOf, Condition, Filter, conditions, matches

# Different combinations of values whose answer is remembered: at most about 30 MB.
REMEMBERED = 100_000
# An SQL path of SQLite can name any key but those that JSON writes in another way.
ESCAPED = frozenset('"\\') | {chr(code) for code in range(0x20)}

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def roots_of(filter_: Filter) -> list[str]:
    """The top-level keys that decide about a document: those that a dotted path may begin with."""
    paths = {condition.field for condition in conditions(filter_)}
    return sorted(paths | {path.partition(".")[0] for path in paths})


def asking(filter_: Filter, roots: Sequence[str]) -> Callable[..., bool]:
    """From the JSON of the values under these keys, None where there is none."""

    @lru_cache(maxsize=REMEMBERED)
    def passes(*texts: str | None) -> bool:
        given = {root: json.loads(text) for root, text in zip(roots, texts, strict=True) if text is not None}
        return matches(filter_, given)

    return passes


def asking_all(filter_: Filter) -> Callable[..., bool]:
    """From the JSON of all metadata."""
    return lambda text: matches(filter_, json.loads(text))


def integer_conditions(filter_: Filter) -> Sequence[Condition] | None:
    """The conditions of a filter that only compares fields at the top with whole numbers; else None.

    They are what a database can say by itself where the values are numbers: a filter on a number that differs
    from document to document would else be asked for each of them, 4 us a time.
    """
    parts = filter_.filters if isinstance(filter_, AllOf) else (filter_,)
    found = [part for part in parts if isinstance(part, Condition) and _compares_integers(part)]
    return found if found and len(found) == len(parts) else None


def compare(condition: Condition, value: Any) -> Any:
    """The comparison of such a condition on an SQL expression."""
    return _COMPARISONS[condition.operator](value, condition.operand)


def _compares_integers(condition: Condition) -> bool:
    simple = "." not in condition.field and not ESCAPED & set(condition.field)
    whole = type(condition.operand) is int and abs(condition.operand) < 2**63
    return simple and whole and condition.operator in _COMPARISONS
