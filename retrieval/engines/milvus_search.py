"""Reading from Milvus, so that exactly what is allowed comes back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.milvus_connection import CALL_TIMEOUT_S, MilvusConnection
from retrieval.engines.milvus_filters import expression
from retrieval.engines.milvus_terms import metadata_of
from retrieval.engines.types import Allowed
from retrieval.filters import Filter, matches

MAX_LIMIT: Final = 16_384  # Milvus returns no more to one search
MIN_EF: Final = 128
GROWTH: Final = 4
COMPARED_ROWS: Final = 512  # read at once to be compared here; each has up to 64 KB beside its vector
Found = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class MilvusRows:
    """The rows of one index, as of `not_before` or later (a time of the server's clock; 0: the newest)."""

    connection: MilvusConnection
    name: str
    part: str
    dimension: int
    not_before: int

    def search(self, vector: NDArray[np.float32], limit: int, condition: str) -> list[Mapping[str, Any]]:
        """At most `limit` rows, best first: id, distance (the inner product) and rest."""
        answer = self.connection.call(
            self.connection.client.search,
            self.name,
            [vector],
            filter=self._within(condition),
            limit=limit,
            output_fields=["rest"],
            search_params={"metric_type": "IP", "params": {"ef": max(MIN_EF, limit)}},
            **self._freshness(),
        )
        return list(answer[0])

    def ids(self, condition: str, limit: int | None = None) -> list[int]:
        """The ids of all rows, or of some `limit` of them."""
        return [row["id"] for row in self._query(condition, ["id"], limit)]

    def stored(self, ids: Sequence[int], fields: Sequence[str] = ("vector",)) -> list[Mapping[str, Any]]:
        """The id and these fields of the rows that are there, in any order."""
        return self._query(f"id in {list(ids)}", ["id", *fields]) if ids else []

    def count(self, condition: str) -> int:
        return int(self._query(condition, ["count(*)"])[0]["count(*)"])

    def _query(self, condition: str, fields: list[str], limit: int | None = None) -> list[Mapping[str, Any]]:
        bounded = {} if limit is None else {"limit": limit}
        answer = self.connection.call(
            self.connection.client.query,
            self.name,
            filter=self._within(condition),
            output_fields=fields,
            **bounded,
            **self._freshness(),
        )
        return list(answer)

    def _within(self, condition: str) -> str:
        own = f"part == {json.dumps(self.part, ensure_ascii=False)}"
        return f"{own} and {condition}" if condition else own

    def _freshness(self) -> dict[str, Any]:
        return {
            "consistency_level": "Customized",
            "guarantee_timestamp": self.not_before,
            "timeout": CALL_TIMEOUT_S,
        }


def best_allowed(rows: MilvusRows, vector: NDArray[np.float32], depth: int, allowed: Allowed | None) -> Found:
    """The best `depth` allowed rows, best first; fewer only where there are no more."""
    condition, check = _condition(allowed)
    wanted = depth if allowed is None else min(depth, allowed.chunks)
    limit = min(wanted, MAX_LIMIT)
    while limit > 0:
        nearest = rows.search(vector, limit, condition)
        passed = [row for row in nearest if _passes(row["entity"]["rest"], check)]
        if len(passed) >= wanted or (len(nearest) < limit and rows.count(condition) <= len(nearest)):
            return _best([row["id"] for row in passed], [row["distance"] for row in passed], wanted)
        if len(nearest) < limit or limit == MAX_LIMIT:
            break
        limit = min(limit * GROWTH, MAX_LIMIT)
    return _compared(rows, vector, wanted, condition, check)


def _condition(allowed: Allowed | None) -> tuple[str, Filter | None]:
    """What Milvus is asked for, and the filter by which rows of doubt are checked here."""
    if allowed is None:
        return "", None
    if allowed.document_keys is not None:
        return f"document in {list(allowed.document_keys)}", None
    return expression(allowed.filter), allowed.filter


def _passes(rest: Sequence[str], check: Filter | None) -> bool:
    return check is None or not rest or matches(check, metadata_of(rest))


def _compared(
    rows: MilvusRows, vector: NDArray[np.float32], wanted: int, condition: str, check: Filter | None
) -> Found:
    """The same by comparing every allowed row, where the server's index does not lead to enough of them."""
    ids = rows.ids(condition)
    best, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, len(ids), COMPARED_ROWS):
        stored = rows.stored(ids[start : start + COMPARED_ROWS], ("vector", "rest"))
        passed = [row for row in stored if _passes(row["rest"], check)]
        products = [float(np.asarray(row["vector"], np.float32) @ vector) for row in passed]
        known = [*best.tolist(), *(row["id"] for row in passed)]
        best, scores = _best(known, [*scores.tolist(), *products], wanted)
    return best, scores


def _best(ids: Sequence[int], products: Sequence[float], wanted: int) -> Found:
    """The best first, ties by id."""
    found, scores = np.array(ids, np.int64), np.array(products, np.float32)
    order = np.lexsort((found, -scores))[: max(0, wanted)]
    return found[order], scores[order]
