from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.columns import MAX_KEPT_COLUMNS, MetadataTable
from retrieval.filters import matches, parse_filter

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, 1.0, 1.5]),
    st.sampled_from(["", "a", "b"]),
)
FIELDS = st.sampled_from(["x", "y", "x.z"])
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.just("z"), SCALARS, max_size=1))
ROWS = st.lists(st.dictionaries(st.sampled_from(["x", "y"]), VALUES), max_size=12)
COMPARABLE = st.one_of(st.integers(-2, 2), st.sampled_from(["", "a", "b"]))
CONDITIONS = st.one_of(
    SCALARS,
    st.builds(lambda op, v: {op: v}, st.sampled_from(["$eq", "$ne"]), SCALARS),
    st.builds(lambda op, v: {op: v}, st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.builds(lambda op, v: {op: v}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), COMPARABLE),
    st.builds(lambda v: {"$exists": v}, st.booleans()),
)
FILTERS = st.recursive(
    st.dictionaries(FIELDS, CONDITIONS, max_size=2),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=4,
)


@given(first=ROWS, more=ROWS, source=FILTERS)
def test_mask_agrees_with_matching_each_document(
    first: list[dict[str, Any]], more: list[dict[str, Any]], source: dict[str, Any]
) -> None:
    filter_ = parse_filter(source)
    table = MetadataTable().extended(first)
    table.mask(filter_)  # encodes the columns, so that growing has to carry them over
    grown = table.extended(more)

    assert table.mask(filter_).tolist() == [matches(filter_, row) for row in first]
    assert grown.mask(filter_).tolist() == [matches(filter_, row) for row in [*first, *more]]


def test_selected_documents_keep_their_columns() -> None:
    table = MetadataTable().extended([{"n": i} for i in range(6)])
    table.mask(parse_filter({"n": 0}))

    selected = table.select(np.array([5, 1, 3]))

    assert selected.mask(parse_filter({"n": {"$gte": 3}})).tolist() == [True, False, True]


def test_one_and_true_do_not_share_a_value() -> None:
    table = MetadataTable().extended([{"v": True}, {"v": 1}, {"v": 1.0}, {"v": [1]}])

    assert table.mask(parse_filter({"v": 1})).tolist() == [False, True, True, True]
    assert table.mask(parse_filter({"v": True})).tolist() == [True, False, False, False]


@pytest.mark.parametrize("number", [10**400, 2**53 + 1, float("inf"), 1e300, -0.0])
def test_extreme_numbers_equal_themselves_only(number: float) -> None:
    table = MetadataTable().extended([{"v": number}, {"v": 7}, {}])

    assert table.mask(parse_filter({"v": number})).tolist() == [True, False, False]
    assert table.mask(parse_filter({"v": {"$nin": [number]}})).tolist() == [False, True, True]
    assert table.mask(parse_filter({"v": float(2**53)})).tolist() == [False, False, False]


def test_filters_on_ever_new_fields_keep_few_columns() -> None:
    table = MetadataTable().extended([{"a": 1}])

    for i in range(2 * MAX_KEPT_COLUMNS):
        assert not table.mask(parse_filter({f"field{i}": 1})).any()

    assert len(table.columns) == MAX_KEPT_COLUMNS
    assert table.mask(parse_filter({"a": 1})).tolist() == [True]
