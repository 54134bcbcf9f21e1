"""Which documents a mass delete means, found without a Python object for each of them."""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, ColumnElement, Select, String, and_, case, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.deletions import marked_keys
from app.db.marks import standing
from app.db.models import Document, Tombstone
from retrieval.filters import AllOf, Condition, Filter, conditions, matches

# Different combinations of values whose answer is remembered: at most about 30 MB.
REMEMBERED = 100_000
# An SQL path can name any key but those that JSON writes in another way.
_ESCAPED = frozenset('"\\') | {chr(code) for code in range(0x20)}

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}

Keys = NDArray[np.int64]


class Selection(Protocol):
    """Which documents are meant."""

    async def condition(self, connection: AsyncConnection) -> ColumnElement[bool]:
        """On rows of `documents`, for statements on this connection only."""
        ...


@dataclass(frozen=True, slots=True)
class SelectedIds:
    """Those with these external ids."""

    external_ids: Sequence[str]

    async def condition(self, connection: AsyncConnection) -> ColumnElement[bool]:  # noqa: ARG002
        """As Selection has it."""
        given = func.json_each(json.dumps(self.external_ids, ensure_ascii=False)).table_valued("value")
        return Document.external_id.in_(select(given.c.value))


@dataclass(frozen=True, slots=True)
class SelectedByFilter:
    """Those whose metadata passes."""

    filter: Filter

    async def condition(self, connection: AsyncConnection) -> ColumnElement[bool]:
        """As Selection has it."""
        return await _passes(connection, self.filter)


async def select_keys(connection: AsyncConnection, collection: CollectionRef, selection: Selection) -> Keys:
    """(documents,) ascending keys of the documents that stand and are meant."""
    return await _keys(connection, _standing_in(collection).where(await selection.condition(connection)))


async def select_keys_again(
    connection: AsyncConnection, collection: CollectionRef, selection: Selection, keys: Keys, seq: int
) -> Keys:
    """What `select_keys` gives now, from what it gave when the collection had come to `seq`.

    Only documents that were written or deleted since are looked at.
    """
    if collection.last_seq == seq:
        return keys
    newer = _standing_in(collection, after=seq)
    changed = await _keys(connection, newer)
    meant = await _keys(connection, newer.where(await selection.condition(connection)))
    rows = select(func.json_group_array(Tombstone.document_key))
    buried = await _keys(
        connection, rows.where(Tombstone.collection_id == collection.id, Tombstone.seq > seq)
    )
    marked = await marked_keys(connection, collection.id, seq + 1, collection.last_seq)
    stale = np.concatenate([changed, buried, np.fromiter(marked, np.int64, len(marked))])
    return np.union1d(np.setdiff1d(keys, stale), meant)


def _standing_in(collection: CollectionRef, after: int = -1) -> Select[*tuple[Any, ...]]:
    """Keys of the documents that were written after the sequence number `after`.

    That is asked for in any case, because SQLite then walks the rows about as they lie on the disk: in the
    order of their external ids, the other index, that would take twice as long.
    """
    keys = select(func.json_group_array(Document.id))
    return keys.where(Document.collection_id == collection.id, Document.seq > after, standing())


async def _keys(connection: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> Keys:
    """The keys, handed over as one text: as rows, a million of them would take a second."""
    text = await connection.scalar(statement)
    return np.sort(np.fromstring(text[1:-1], np.int64, sep=",")) if text != "[]" else np.empty(0, np.int64)


def _roots(filter_: Filter) -> set[str]:
    """The top-level keys that decide about a document: those that a dotted path may begin with."""
    paths = {condition.field for condition in conditions(filter_)}
    return paths | {path.partition(".")[0] for path in paths}


async def _passes(connection: AsyncConnection, filter_: Filter) -> ColumnElement[bool]:
    """A condition for which SQLite asks the filter itself, once for each combination of values.

    So it means to the letter what `matches` means, and parses no more of the metadata than it needs.
    """
    roots = sorted(_roots(filter_))
    meta = type_coerce(Document.meta, String)
    arguments: list[ColumnElement[Any]]
    if any(_ESCAPED & set(root) for root in roots):
        asking, arguments = _asking_all(filter_), [meta]
    else:
        asking, arguments = _asking(filter_, roots), [meta.op("->")(f'$."{root}"') for root in roots]
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.create_function("footnote_passes", len(arguments), asking, deterministic=True)
    asked = func.footnote_passes(*arguments) == 1
    plain = _integer_conditions(filter_)
    return asked if plain is None else _comparing_integers(plain, asked)


def _integer_conditions(filter_: Filter) -> Sequence[Condition] | None:
    """The conditions of a filter that only compares fields at the top with whole numbers; else None."""
    parts = filter_.filters if isinstance(filter_, AllOf) else (filter_,)
    found = [part for part in parts if isinstance(part, Condition) and _compares_integers(part)]
    return found if found and len(found) == len(parts) else None


def _compares_integers(condition: Condition) -> bool:
    simple = "." not in condition.field and not _ESCAPED & set(condition.field)
    whole = type(condition.operand) is int and abs(condition.operand) < 2**63
    return simple and whole and condition.operator in _COMPARISONS


def _comparing_integers(
    conditions_: Sequence[Condition], otherwise: ColumnElement[bool]
) -> ColumnElement[bool]:
    """What SQLite can say by itself where all the values are whole numbers: a filter on a number that differs
    from document to document would else be asked for each of them, 4 us a time.
    """
    meta = type_coerce(Document.meta, String)
    paths = {condition.field: f'$."{condition.field}"' for condition in conditions_}
    integers = and_(*(func.json_type(meta, path) == "integer" for path in paths.values()))
    compared = and_(*(_compare(condition, meta, paths[condition.field]) for condition in conditions_))
    return case((integers, compared), else_=otherwise)


def _asking(filter_: Filter, roots: Sequence[str]) -> Callable[..., bool]:
    """From the JSON of the values under these keys, None where there is none."""

    @lru_cache(maxsize=REMEMBERED)
    def passes(*texts: str | None) -> bool:
        given = {root: json.loads(text) for root, text in zip(roots, texts, strict=True) if text is not None}
        return matches(filter_, given)

    return passes


def _asking_all(filter_: Filter) -> Callable[..., bool]:
    """From the JSON of all metadata."""
    return lambda text: matches(filter_, json.loads(text))


def _compare(condition: Condition, meta: ColumnElement[str], path: str) -> ColumnElement[bool]:
    value = func.json_extract(meta, path, type_=BigInteger)
    compared: ColumnElement[bool] = _COMPARISONS[condition.operator](value, condition.operand)
    return compared
