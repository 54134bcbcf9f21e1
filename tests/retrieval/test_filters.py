import re
from typing import Any

import pytest

from embeddings.errors import InvalidInput
from retrieval.filters import MAX_FILTER_CONDITIONS, MAX_FILTER_DEPTH, matches, parse_filter

DOCUMENT = {
    "lang": "ru",
    "year": 2024,
    "draft": False,
    "note": None,
    "tags": ["search", "index"],
    "author": {"name": "Ann", "born": 1990},
    "links": [{"to": "a"}, {"to": "b"}],
    "dotted.key": "whole",
}


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, True),
        ({"lang": "ru"}, True),
        ({"lang": {"$eq": "en"}}, False),
        ({"lang": {"$ne": "en"}}, True),
        ({"lang": {"$in": ["en", "ru"]}}, True),
        ({"lang": {"$in": []}}, False),
        ({"lang": {"$nin": ["en", "ru"]}}, False),
        ({"year": {"$gt": 2023, "$lt": 2025}}, True),
        ({"year": {"$gte": 2024, "$lte": 2024}}, True),
        ({"year": {"$gt": 2024}}, False),
        ({"year": 2024.0}, True),
        ({"lang": {"$gte": "ra"}}, True),
        ({"tags": "index"}, True),
        ({"tags": {"$ne": "index"}}, False),
        ({"tags": {"$in": ["none", "search"]}}, True),
        ({"author.name": "Ann"}, True),
        ({"author.born": {"$lt": 1980}}, False),
        ({"links.to": "b"}, True),
        ({"dotted.key": "whole"}, True),
        ({"note": None}, True),
        ({"note": {"$exists": True}}, True),
        ({"draft": False}, True),
        ({"lang": "ru", "year": 1999}, False),
        ({"$and": [{"lang": "ru"}, {"year": 2024}]}, True),
        ({"$or": [{"lang": "en"}, {"year": 2024}]}, True),
        ({"$not": {"lang": "ru"}}, False),
        ({"year": {"$not": {"$gt": 2030}}}, True),
    ],
)
def test_filter_selects(filter_: dict[str, Any], expected: bool) -> None:
    assert matches(parse_filter(filter_), DOCUMENT) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"$eq": 1}, False),
        ({"$eq": None}, False),
        ({"$in": [None, 1]}, False),
        ({"$gt": 0}, False),
        ({"$gte": ""}, False),
        ({"$lt": 9}, False),
        ({"$lte": "z"}, False),
        ({"$exists": True}, False),
        ({"$ne": 1}, True),
        ({"$nin": [1]}, True),
        ({"$exists": False}, True),
        ({"$not": {"$gt": 0}}, True),
    ],
)
@pytest.mark.parametrize("path", ["absent", "author.absent", "lang.deeper", "tags.deeper"])
def test_missing_field_matches_only_negations(path: str, condition: dict[str, Any], expected: bool) -> None:
    assert matches(parse_filter({path: condition}), DOCUMENT) is expected


@pytest.mark.parametrize(
    "filter_",
    [
        {"year": "2024"},
        {"year": {"$gt": "2000"}},
        {"lang": {"$lt": 5}},
        {"draft": 0},
        {"draft": {"$lt": 1}},
        {"year": {"$in": ["2024", True]}},
        {"author": {"$gt": "A"}},
    ],
)
def test_values_of_different_types_never_compare(filter_: dict[str, Any]) -> None:
    assert not matches(parse_filter(filter_), DOCUMENT)


@pytest.mark.parametrize(
    ("filter_", "field"),
    [
        ("lang=ru", "filter"),
        (["lang"], "filter"),
        (None, "filter"),
        ({"": 1}, "filter"),
        ({"$nor": []}, "filter.$nor"),
        ({"lang": {"$regex": "r"}}, "filter.lang.$regex"),
        ({"lang": {}}, "filter.lang"),
        ({"lang": ["ru"]}, "filter.lang"),
        ({"lang": {"$in": "ru"}}, "filter.lang.$in"),
        ({"lang": {"$in": ["ru", {}]}}, "filter.lang.$in[1]"),
        ({"year": {"$gt": None}}, "filter.year.$gt"),
        ({"year": {"$gt": True}}, "filter.year.$gt"),
        ({"year": {"$exists": 1}}, "filter.year.$exists"),
        ({"$and": []}, "filter.$and"),
        ({"$or": {"lang": "ru"}}, "filter.$or"),
        ({"$or": [{"a": 1}, {"b": {"$bad": 1}}]}, "filter.$or[1].b.$bad"),
        ({"$not": [1]}, "filter.$not"),
        ({"year": {"$not": 5}}, "filter.year.$not"),
        ({"year": float("nan")}, "filter.year"),
    ],
)
def test_wrong_part_of_a_filter_is_named(filter_: object, field: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(field)) as raised:
        parse_filter(filter_)

    assert raised.value.field == field
    assert raised.value.found
    assert raised.value.expected


def test_path_of_the_filter_in_the_request_starts_the_field() -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_filter({"a": {"$bad": 1}}, path="body.where")

    assert raised.value.field == "body.where.a.$bad"


@pytest.mark.parametrize("operator", ["$not", "$and"])
def test_bottomless_nesting_is_refused(operator: str) -> None:
    nested: dict[str, Any] = {"a": 1}
    for _ in range(MAX_FILTER_DEPTH + 1):
        nested = {operator: [nested]} if operator == "$and" else {operator: nested}

    with pytest.raises(InvalidInput, match="nesting"):
        parse_filter(nested)


def test_bottomless_nesting_within_a_field_is_refused() -> None:
    condition: dict[str, Any] = {"$gt": 1}
    for _ in range(2_000):
        condition = {"$not": condition}

    with pytest.raises(InvalidInput, match="nesting"):
        parse_filter({"year": condition})


def test_filter_of_too_many_conditions_is_refused() -> None:
    parts = [{"a": i} for i in range(MAX_FILTER_CONDITIONS + 1)]

    with pytest.raises(InvalidInput, match="conditions"):
        parse_filter({"$or": parts})
