"""Which documents a mass delete means, found without a Python object for each of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, ColumnElement, Select, String, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db import filter_postgres, filter_sqlite
from app.db.collections import CollectionRef
from app.db.deletions import marked_keys
from app.db.dialects import key_list
from app.db.marks import standing
from app.db.models import Document, Tombstone
from retrieval.filters import Filter

Keys = NDArray[np.int64]
Conditions = Sequence[ColumnElement[bool]]


class Selection(Protocol):
    """Which documents are meant."""

    async def condition(self, connection: AsyncConnection, among: Conditions) -> ColumnElement[bool]:
        """On rows of `documents` for which all of `among` holds, for statements on this connection only."""
        ...


@dataclass(frozen=True, slots=True)
class SelectedIds:
    """Those with these external ids."""

    external_ids: Sequence[str]

    async def condition(self, connection: AsyncConnection, among: Conditions) -> ColumnElement[bool]:  # noqa: ARG002
        """As Selection has it."""
        if connection.dialect.name == "postgresql":
            given = bindparam("given", list(self.external_ids), ARRAY(String), unique=True)
            return Document.external_id == func.any(given)
        listed = func.json_each(json.dumps(self.external_ids, ensure_ascii=False)).table_valued("value")
        return Document.external_id.in_(select(listed.c.value))


@dataclass(frozen=True, slots=True)
class SelectedByFilter:
    """Those whose metadata passes."""

    filter: Filter

    async def condition(self, connection: AsyncConnection, among: Conditions) -> ColumnElement[bool]:
        """As Selection has it."""
        if connection.dialect.name == "postgresql":
            return await filter_postgres.passes(connection, self.filter, among)
        return await filter_sqlite.passes(connection, self.filter)


async def select_keys(connection: AsyncConnection, collection: CollectionRef, selection: Selection) -> Keys:
    """(documents,) ascending keys of the documents that stand and are meant."""
    among = _standing_in(collection)
    return await _keys(connection, _listed(*among, await selection.condition(connection, among)))


async def select_keys_again(
    connection: AsyncConnection, collection: CollectionRef, selection: Selection, keys: Keys, seq: int
) -> Keys:
    """What `select_keys` gives now, from what it gave when the collection had come to `seq`.

    Only documents that were written or deleted since are looked at.
    """
    if collection.last_seq == seq:
        return keys
    newer = _standing_in(collection, after=seq)
    changed = await _keys(connection, _listed(*newer))
    meant = await _keys(connection, _listed(*newer, await selection.condition(connection, newer)))
    own = (Tombstone.collection_id == collection.id, Tombstone.seq > seq)
    buried = await _keys(connection, select(key_list(Tombstone.document_key)).where(*own))
    marked = await marked_keys(connection, collection.id, seq + 1, collection.last_seq)
    stale = np.concatenate([changed, buried, np.fromiter(marked, np.int64, len(marked))])
    return np.union1d(np.setdiff1d(keys, stale), meant)


def _standing_in(collection: CollectionRef, after: int = -1) -> Conditions:
    """Documents that were written after the sequence number `after`.

    That is asked for in any case, because SQLite then walks the rows about as they lie on the disk: in the
    order of their external ids, the other index, that would take twice as long.
    """
    return (Document.collection_id == collection.id, Document.seq > after, standing())


def _listed(*conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return select(key_list(Document.id)).where(*conditions)


async def _keys(connection: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> Keys:
    text = await connection.scalar(statement)
    return np.sort(np.fromstring(text[1:-1], np.int64, sep=",")) if text != "[]" else np.empty(0, np.int64)
