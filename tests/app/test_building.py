"""Builds beside the service: through all of them what was written is found, and what was deleted is not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app import index_lag
from app.building import lease_name
from app.db.leased import leased
from app.resources import Models, Resources, open_resources
from app.services.release_types import ReindexInput, ReleaseState
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from retrieval.types import SearchMode

LARGEST_PAGE = 100
WORDS = ("apple", "pear", "plum", "fig")


@asynccontextmanager
async def service(settings: Settings, models: Models) -> AsyncIterator[Resources]:
    async with open_resources(settings, models) as resources:
        await resources.warm()
        yield resources


async def write(resources: Resources, first: int, last: int) -> None:
    items = [DocumentInput(f"{WORDS[i % 4]} note number{i}", id=f"d{i}") for i in range(first, last)]
    await resources.documents.add("notes", items)


async def found(resources: Resources, query: str, mode: SearchMode = SearchMode.LEXICAL) -> set[str]:
    output = await resources.search.search("notes", SearchInput(query, mode, limit=LARGEST_PAGE))
    return {hit.document_id for hit in output.hits}


async def build(resources: Resources) -> None:
    (wanted,) = resources.indexes.held()
    assert await resources.builder.build(wanted)


def only_build(settings: Settings) -> Path:
    (path,) = (settings.home / "indexes" / "1").iterdir()
    return path


async def test_started_service_goes_on_from_the_build(
    settings: Settings, models: Models, resources: Resources, notes: str
) -> None:
    await write(resources, 0, 40)
    await found(resources, "note")
    await build(resources)
    await write(resources, 40, 44)
    await resources.documents.delete(notes, "d3")

    async with service(settings, models) as started:
        (index,) = started.indexes.held().values()
        assert index.build == only_build(settings)
        for mode in SearchMode:
            assert await found(started, "note", mode) == {f"d{i}" for i in range(44) if i != 3}


async def test_searches_go_on_from_a_new_build_with_later_writes(resources: Resources, notes: str) -> None:
    await write(resources, 0, 30)
    await found(resources, "note")
    await build(resources)
    await resources.documents.delete(notes, "d0")
    await write(resources, 30, 35)
    await build(resources)
    await resources.documents.delete(notes, "d30")

    assert await found(resources, "note") == {f"d{i}" for i in range(35)} - {"d0", "d30"}


async def test_nothing_is_missed_while_builds_replace_one_another(resources: Resources, notes: str) -> None:
    await write(resources, 0, 20)
    await found(resources, "note")

    async def keep_building() -> None:
        for _ in range(8):
            await build(resources)

    building = asyncio.create_task(keep_building())
    written = 20
    while not building.done():
        if written < LARGEST_PAGE:
            await write(resources, written, written + 1)
            written += 1
        assert await found(resources, "note") == {f"d{i}" for i in range(written)}
    await building


async def test_damaged_build_is_made_good_from_sql(
    settings: Settings, models: Models, resources: Resources, notes: str
) -> None:
    await write(resources, 0, 20)
    await found(resources, "note")
    await build(resources)
    vectors = only_build(settings) / "vectors.faiss"
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 255
    vectors.write_bytes(data)

    async with service(settings, models) as started:
        assert await found(started, "note", SearchMode.DENSE) == {f"d{i}" for i in range(20)}
        (index,) = started.indexes.held().values()
        assert index.build is None


async def test_builds_of_a_deleted_collection_go_at_the_next_start(
    settings: Settings, models: Models, resources: Resources, notes: str
) -> None:
    await write(resources, 0, 20)
    await found(resources, "note")
    await build(resources)
    await resources.collections.delete(notes)

    async with service(settings, models):
        assert not (settings.home / "indexes" / "1").exists()


async def test_release_that_another_process_made_is_loaded_before_it_is_promoted(
    settings: Settings, models: Models, resources: Resources, notes: str
) -> None:
    await write(resources, 0, 20)
    await found(resources, "note")
    async with service(settings, models) as other:
        wanted = ReindexInput(chunk_max_tokens=64, chunk_overlap_tokens=0)
        made = await other.releases.reindex(notes, wanted, promote=False)
    assert made.state == ReleaseState.READY

    await resources.indexes.hold_ready()

    (index,) = [
        index for wanted, index in resources.indexes.held().items() if wanted.chunking == made.chunking
    ]
    assert len(index) == 20


async def test_process_goes_over_to_the_build_that_another_has_made(
    settings: Settings, models: Models, resources: Resources, notes: str
) -> None:
    await write(resources, 0, 30)
    await found(resources, "note")
    async with service(settings, models) as other:
        await build(other)

    assert await resources.builder.build_all() == 0
    (index,) = resources.indexes.held().values()
    assert index.build == only_build(settings)
    await write(resources, 30, 32)
    assert await found(resources, "note") == {f"d{i}" for i in range(32)}


async def test_build_is_made_by_one_process_at_a_time(resources: Resources, notes: str) -> None:
    await write(resources, 0, 30)
    await found(resources, "note")
    (wanted,) = resources.indexes.held()
    async with leased(resources.database, lease_name(wanted), "another process") as held:
        assert held
        assert not await resources.builder.build(wanted)
    assert await resources.builder.build(wanted)


async def test_index_that_nobody_searches_is_kept_up(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, models: Models, resources: Resources, notes: str
) -> None:
    monkeypatch.setattr(index_lag, "FOLLOW_AFTER_S", 0.0)
    await found(resources, "note")
    async with service(settings, models) as other:
        await write(other, 0, 7)
        await other.documents.delete(notes, "d3")
    (behind,) = await index_lag.index_lags(resources.database, resources.indexes)
    assert (behind.writes, behind.seconds > 0) == (8, True)

    await index_lag.keep_up(resources.database, resources.indexes)

    (lag,) = await index_lag.index_lags(resources.database, resources.indexes)
    assert (lag.writes, lag.seconds, lag.index.chunks) == (0, 0.0, 6)


async def test_small_index_needs_no_build(resources: Resources, notes: str) -> None:
    await write(resources, 0, 40)
    await found(resources, "note")
    assert await resources.builder.build_all() == 0
