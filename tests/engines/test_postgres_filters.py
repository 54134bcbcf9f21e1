"""Filters as SQL mean what `retrieval.filters` means, on any metadata and any filter."""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.engines.open import close_engines
from retrieval.engines.postgres.metadata import filter_sql, jsonb
from retrieval.engines.postgres.pool import PostgresPool
from retrieval.engines.postgres.schema import open_tables
from retrieval.engines.types import IndexKey
from retrieval.filters import matches, parse_filter
from tests.engines.contract_chunks import filters, metadata

STATEMENT = """
SELECT <condition> FROM unnest(%s::text[]::jsonb[]) WITH ORDINALITY AS held(metadata, place) ORDER BY place
"""


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    open_tables(PostgresPool(postgres_url), IndexKey(1, "c", "m", "d"), "test", 8, vectors=False)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection
    close_engines()


def passing(
    connection: psycopg.Connection[Any], documents: list[Mapping[str, Any]], source: Mapping[str, Any]
) -> list[bool]:
    condition = filter_sql(parse_filter(source))
    rows = connection.execute(
        STATEMENT.replace("<condition>", condition.text),
        (*condition.values, [jsonb(document) for document in documents]),
    )
    return [row[0] for row in rows]


def expected(documents: list[Mapping[str, Any]], source: Mapping[str, Any]) -> list[bool]:
    return [matches(parse_filter(source), document) for document in documents]


def test_any_filter_passes_the_same_documents(connection: psycopg.Connection[Any]) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(metadata, min_size=1, max_size=12), filters)
    def compare(documents: list[Mapping[str, Any]], source: Mapping[str, Any]) -> None:
        assert passing(connection, documents, source) == expected(documents, source)

    compare()


ODD = [
    {},
    {"f": None},
    {"f": []},
    {"f": {}},
    {"f": "a\x00b"},
    {"f": "a\x01b"},
    {"f": "a\x01\x01b"},
    {"f": "a"},
    {"f": "\U0001f994"},
    {"f": "\uffff"},
    {"f": float("inf")},
    {"f": float("-inf")},
    {"f": float("nan")},
    {"f": 1e308},
    {"f": 10**23},
    {"f": 1e23},
    {"f": 2**53 + 1},
    {"f": float(2**53)},
    {"f": -0.0},
    {"f": True},
    {"f": 1},
    {"f": "1"},
    {"f": [[5]]},
    {"f": [[5], 5]},
    {"f": [{"x": 5}]},
    {"f": {"x": [5]}},
    {"f": [{"x": [5]}]},
    {"f.x": 5},
    {"f.x": 6, "f": {"x": 5}},
    {"": 1, "f": {"": {"": 5}}},
    {"f": {"x.y": 5}},
    {"f": {"x": {"y": 5}}},
    {"f": [{"x": 1}, {"y": 2}, 3, [{"x": 5}]]},
]
ASKED = [
    *({"f": {operator: value}} for operator in ("$eq", "$ne") for value in (None, 1, 5, True, "1", "a\x00b")),
    *(
        {"f": {operator: value}}
        for operator in ("$gt", "$gte", "$lt", "$lte")
        for value in (0, 5, 1e23, 10**23, 2**53, float("inf"), "a", "a\x00c", "a\x01", "\U0001f993", "\uffff")
    ),
    *({field: value} for field in ("f.x", "f.x.y", "f.", ".", "..", "f..") for value in (5, 1)),
    *({field: {"$exists": True}} for field in ("f", "f.x", "f.y", "f.x.y", "f.", "f..", "absent")),
    {"f": {"$in": []}},
    {"f": {"$nin": [5, "a\x01b", float("inf"), None]}},
    {"f.x": {"$in": [5, 6]}},
    {"f.x": {"$gte": 6}},
    {"$not": {"f.x": {"$lt": 6}}},
    {},
]


def test_odd_values_pass_as_they_do_in_process(connection: psycopg.Connection[Any]) -> None:
    for source in ASKED:
        assert passing(connection, ODD, source) == expected(ODD, source), source
