from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.db.collections import find_collection
from app.db.deletions import carry_out_step
from app.db.documents import DELETED_AT_ONCE, DocumentRow
from app.db.engine import Database
from app.db.writing import write_documents
from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from embeddings.errors import NotFound
from retrieval.filters import matches, parse_filter
from retrieval.types import ChunkSpan, SearchMode
from tests.app.stored import rows

MANY = DELETED_AT_ONCE + 300
ALL = SearchInput("note", SearchMode.LEXICAL, 1000)


def metadata_of(number: int) -> dict[str, Any]:
    return {
        "parity": "even" if number % 2 == 0 else "odd",
        "n": number,
        "share": number / 7,
        "tags": [["a", 1], [], [None, "ж"], {"k": 2}][number % 4],
        "author": {"name": ["Ann", "Борис", None][number % 3]},
        'quoted "key"': number % 5,
        "dotted.key": bool(number % 2),
        "big": 2**53 + number,
        "mixed": [3, 3.0, "3", [3, 9], True, None, -4, 2**63 - 1][number % 8],
        **({"optional": None} if number % 6 == 0 else {}),
    }


async def fill(resources: Resources, numbers: Sequence[int], name: str = "notes") -> None:
    """Documents `0`, `1`, ... with one chunk each, written without the encoder."""
    encoder = resources.models.encoder
    async with resources.database.write() as connection:
        collection = await find_collection(connection, name)
        release = (await resources.indexes.follow(name)).release
        rows = [_row(number, release.chunking, encoder.model_id, encoder.dimension) for number in numbers]
        await write_documents(connection, collection, rows)


def _row(number: int, chunking: str, model_id: str, dimension: int) -> DocumentRow:
    text = f"note {number}"
    vectors = np.eye(1, dimension, number % dimension, dtype=np.float16)
    return DocumentRow(
        external_id=str(number),
        fingerprint=str(number),
        title=None,
        metadata=metadata_of(number),
        media_type="text/plain",
        filename=None,
        text=text,
        outline={},
        content_hash=text,
        original=None,
        original_hash=text,
        chunking=chunking,
        spans=[ChunkSpan(0, len(text))],
        model_id=model_id,
        vectors=vectors,
    )


def count(resources: Resources, table: str) -> int:
    ((found,),) = rows(resources, f"SELECT count(*) FROM {table}")  # noqa: S608
    return int(found)


async def found_ids(resources: Resources, name: str = "notes") -> set[str]:
    return {hit.document_id for hit in (await resources.search.search(name, ALL)).hits}


async def listed_ids(resources: Resources, name: str = "notes") -> set[str]:
    return {document.id for document in (await resources.documents.list(name, 1000)).documents}


async def delete_evens(resources: Resources) -> set[str]:
    """Delete by filter what is even; returns the ids that are left."""
    deleted = await resources.documents.delete_where("notes", filter={"parity": "even"})
    assert deleted == MANY // 2 > DELETED_AT_ONCE
    return {str(number) for number in range(1, MANY, 2)}


@pytest.fixture
async def filled(resources: Resources, notes: str) -> Resources:
    await fill(resources, range(MANY))
    return resources


async def test_mass_delete_leaves_the_rows_for_later(filled: Resources) -> None:
    await delete_evens(filled)
    assert (count(filled, "documents"), count(filled, "tombstones")) == (MANY, 0)


async def test_deleted_documents_are_invisible_before_their_rows_are_gone(filled: Resources) -> None:
    left = await delete_evens(filled)
    assert await listed_ids(filled) == left
    assert await found_ids(filled) == left
    info = await filled.collections.get("notes")
    assert (info.documents, info.chunks) == (len(left), len(left))
    for read in (filled.documents.get, filled.documents.text, filled.documents.original):
        with pytest.raises(NotFound):
            await read("notes", "0")
    with pytest.raises(NotFound):
        await filled.documents.text("notes", "0", version=1)
    with pytest.raises(NotFound):
        await filled.documents.delete("notes", "0")
    assert await filled.documents.delete_where("notes", ids=["0", "2"]) == 0


async def test_index_that_had_the_documents_drops_them(filled: Resources) -> None:
    assert len(await found_ids(filled)) == MANY
    left = await delete_evens(filled)
    assert await found_ids(filled) == left
    assert len((await filled.indexes.follow("notes")).index) == len(left)


async def test_carrying_out_leaves_tombstones_and_nothing_else(filled: Resources) -> None:
    left = await delete_evens(filled)
    await filled.reclaimer.finish()
    assert count(filled, "documents") == count(filled, "chunks") == count(filled, "vectors") == len(left)
    assert count(filled, "tombstones") == MANY - len(left)
    assert count(filled, "deletions") == count(filled, "deletion_pages") == 0
    assert await listed_ids(filled) == await found_ids(filled) == left


async def test_index_learns_the_same_at_every_step_of_carrying_out(filled: Resources, models: Models) -> None:
    left = await delete_evens(filled)
    steps = 0
    while count(filled, "deletions"):
        async with filled.database.write() as connection:
            await carry_out_step(connection)
        async with open_resources(filled.settings, models) as fresh:
            assert await found_ids(fresh) == left
        steps += 1
    assert steps >= 2


async def test_index_that_slept_meanwhile_learns_of_the_deletion(
    filled: Resources, settings: Settings, models: Models
) -> None:
    async with open_resources(settings, models) as sleeping:
        assert len(await found_ids(sleeping)) == MANY
        left = await delete_evens(filled)
        await filled.reclaimer.finish()
        assert await found_ids(sleeping) == left


async def test_id_added_again_is_a_new_document_that_goes_on_counting(filled: Resources) -> None:
    left = await delete_evens(filled)
    (result,) = await filled.documents.add("notes", [DocumentInput("note again", "4")])
    assert (result.status, result.version) == ("created", 2)
    assert await found_ids(filled) == left | {"4"}
    await filled.reclaimer.finish()
    assert await found_ids(filled) == await listed_ids(filled) == left | {"4"}
    assert (await filled.documents.text("notes", "4")).text == "note again"
    with pytest.raises(NotFound):
        await filled.documents.text("notes", "4", version=1)


async def test_delete_by_many_ids_counts_only_those_that_exist(filled: Resources) -> None:
    ids = [str(number) for number in range(MANY - 1)] * 2 + ["nobody", "'; --", "ж"]
    assert await filled.documents.delete_where("notes", ids=ids) == MANY - 1
    assert await listed_ids(filled) == {str(MANY - 1)}


async def test_deletions_do_not_touch_other_collections(filled: Resources) -> None:
    await filled.collections.create("other")
    await fill(filled, range(3), "other")
    await delete_evens(filled)
    await filled.reclaimer.finish()
    assert await listed_ids(filled, "other") == {"0", "1", "2"}


async def test_two_reclaimers_and_a_second_deletion(filled: Resources) -> None:
    await delete_evens(filled)
    odd = await filled.documents.delete_where("notes", filter={"n": {"$gte": 0}})
    assert odd == MANY // 2
    other = Database(filled.settings.database, busy_timeout_s=5)
    async with other.write() as connection:
        assert await carry_out_step(connection)
    await other.close()
    await filled.reclaimer.finish()
    assert count(filled, "documents") == 0
    assert count(filled, "tombstones") == MANY


@pytest.mark.parametrize(
    "source",
    [
        {"parity": "odd"},
        {"parity": {"$ne": "odd"}},
        {"n": {"$gte": 3, "$lt": 17}},
        {"n": 3.0},
        {"n": {"$in": [1, True, "2", 5]}},
        {"share": {"$gt": 1.5}},
        {"share": 1 / 7},
        {"big": 2**53 + 1},
        {"big": {"$gt": 2**53 + 30}, "n": {"$lt": 35}},
        {"mixed": 3},
        {"mixed": {"$gte": 1}},
        {"mixed": {"$lt": 3}},
        {"mixed": 2**63 - 1},
        {"mixed": {"$lt": 2**64}},
        {"mixed": {"$gt": 2}, "parity": "even"},
        {"tags": "a"},
        {"tags": 1},
        {"tags": None},
        {"tags": "ж"},
        {"tags.k": 2},
        {"author.name": "Борис"},
        {"author.name": {"$exists": False}},
        {"author": {"$exists": True}},
        {"author.name": None},
        {'quoted "key"': 3},
        {"dotted.key": True},
        {"dotted.key": {"$nin": [1, 0]}},
        {"optional": None},
        {"optional": {"$exists": False}},
        {"missing": {"$ne": 1}},
        {"$or": [{"n": 2}, {"$not": {"parity": "even"}}]},
    ],
)
async def test_filter_means_in_sql_what_it_means_to_the_oracle(
    resources: Resources, notes: str, source: dict[str, Any]
) -> None:
    await fill(resources, range(40))
    parsed = parse_filter(source)
    expected = {str(number) for number in range(40) if not matches(parsed, metadata_of(number))}
    assert await resources.documents.delete_where("notes", filter=source) == 40 - len(expected)
    assert await listed_ids(resources) == expected


async def test_deleted_collection_is_gone_at_once_and_its_name_is_free(filled: Resources) -> None:
    await filled.collections.delete("notes")
    assert [info.name for info in await filled.collections.list()] == []
    for name in ("notes", "deleted/1"):
        with pytest.raises(NotFound):
            await filled.collections.get(name)
        with pytest.raises(NotFound):
            await filled.search.search(name, ALL)
    assert count(filled, "documents") == MANY
    await filled.collections.create("notes")
    await fill(filled, range(3))
    assert await found_ids(filled) == {"0", "1", "2"}
    await filled.reclaimer.finish()
    assert await found_ids(filled) == {"0", "1", "2"}
    assert (count(filled, "documents"), count(filled, "collections")) == (3, 1)


async def test_collection_with_deletions_and_tombstones_is_removed_completely(filled: Resources) -> None:
    await delete_evens(filled)
    await filled.documents.delete("notes", "1")
    await filled.collections.delete("notes")
    await filled.reclaimer.finish()
    tables = ("collections", "documents", "chunks", "vectors", "tombstones", "deletions", "deletion_pages")
    assert [count(filled, table) for table in tables] == [0] * len(tables)
