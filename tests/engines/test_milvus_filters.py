"""Filters as Milvus expressions, without a server: their few forms are Python, too, so Python reads them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given

from retrieval.engines.milvus_filters import expression
from retrieval.engines.milvus_terms import UNTOLD, Stored, metadata_of, stored_metadata
from retrieval.filters import matches, parse_filter
from tests.engines.contract_chunks import filters, metadata

LONG = "ж" * 300
HUGE = 10**400


class Absent:
    """A bound that a row does not have: every comparison with it fails."""

    def fails(self, _other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = fails


def contains(held: list[int], term: int) -> bool:
    return term in held


def contains_any(held: list[int], wanted: list[int]) -> bool:
    return bool(set(wanted) & set(held))


def answers(stored: Stored, condition: str) -> bool:
    """What Milvus answers for one row."""
    bounds: defaultdict[str, Any] = defaultdict(Absent, stored.bounds)
    names = {
        "array_contains": contains,
        "array_contains_any": contains_any,
        "terms": stored.terms,
        "bounds": bounds,
    }
    return bool(eval(condition, {"__builtins__": {}}, names))  # noqa: S307  (an expression of ours)


def found(held: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
    """Whether a search returns the row: Milvus lets it pass, and what it does not know is checked."""
    filter_, stored = parse_filter(source), stored_metadata(held)
    return answers(stored, expression(filter_)) and (
        not stored.rest or matches(filter_, metadata_of(stored.rest))
    )


@given(metadata, filters)
@example({"f": [1, [2], {"x": 3}]}, {"f": 2})
@example({"f": [{"x": 1}, {"x": [2]}]}, {"f.x": {"$gt": 1}})
@example({"f": {"x": 1}, "f.x": 2}, {"f.x": 1})
def test_expression_means_what_the_filter_means(held: dict[str, Any], source: dict[str, Any]) -> None:
    assert found(held, source) == matches(parse_filter(source), held)


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize("operator", ["$eq", "$gt", "$gte", "$lt", "$lte"])
@pytest.mark.parametrize(
    "operand",
    [
        *(2**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1, HUGE, -HUGE, float("inf"), float("-inf"), 5e-324),
        *(LONG, LONG[1:], "q\"uo'te\\", "\n\u2028", "🦔", "\ud800", "🦔\udfff\udfff"),
    ],
)
def test_far_numbers_and_long_texts_compare_as_ours_do(operator: str, operand: Any, negate: bool) -> None:
    source = {"f": {"$not": {operator: operand}} if negate else {operator: operand}}
    values = [2**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1, 1e308, 0.0, LONG, LONG[2:], "q\"uo'te\\", "\n", "🦔"]
    for held in [{"f": value} for value in values] + [{"f": values}, {"f": []}, {}]:
        assert found(held, source) == matches(parse_filter(source), held)


def test_row_with_too_many_fields_is_checked_by_its_metadata() -> None:
    held = {f"field {number}": "text " * 20 for number in range(400)}
    stored = stored_metadata(held)
    assert stored.terms == [UNTOLD]
    assert metadata_of(stored.rest) == held
    assert all(len(piece.encode()) <= 65_535 for piece in stored.rest)
    assert found(held, {"field 399": "text " * 20})
    assert not found(held, {"field 399": {"$exists": False}})


def test_ordinary_metadata_needs_no_check() -> None:
    stored = stored_metadata({"lang": "ru", "year": 2024, "tags": ["a", "b"], "author": {"name": "Ann"}})
    assert stored.rest == []


def test_empty_filter_lets_everything_pass() -> None:
    assert found({}, {})
    assert not found({}, {"$not": {}})
