"""A collection's index moves from files to PostgreSQL and back while it serves."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.doctor.engines import CHECK
from app.doctor.examination import examine
from app.doctor.findings import Level
from app.resources import Models, Resources, open_resources
from app.services.release_types import ReindexInput, Release, ReleaseState
from app.services.types import CollectionSettings, DocumentInput, SearchInput
from app.settings import Settings
from generation.answering import Answerer
from retrieval.types import SearchMode
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer

WORDS = ("tide", "rope", "маяк", "lamp", "harbour", "скала", "gull")
COUNT = 60


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(HashingEncoder(), write_word_tokenizer(tmp_path), Answerer(None, refuse_below=0.0))


@pytest.fixture(params=["its own", "the metadata's", "milvus"])
def settings(tmp_path: Path, request: pytest.FixtureRequest, postgres_url: str) -> Settings:
    """FAISS first, and a database for indexes: its own beside SQLite, the one of the metadata, or Milvus."""
    settings = Settings(home=tmp_path / "home", threads=1, busy_timeout_s=10)
    if request.param == "its own":
        return replace(settings, index_url=f"faiss {postgres_url}")
    if request.param == "the metadata's":
        return replace(settings, database_url=postgres_url, index_url="faiss postgresql")
    if os.environ.get("FOOTNOTE_ENGINE_TESTS") != "1":
        pytest.skip("only with FOOTNOTE_ENGINE_TESTS=1: make test-engines")
    pytest.importorskip("milvus_lite")
    lite = f"milvus+lite://{tmp_path / 'milvus.db'}"
    return replace(settings, database_url=postgres_url, index_url=f"faiss {lite}")


@pytest.fixture
async def resources(settings: Settings, models: Models) -> AsyncIterator[Resources]:
    async with open_resources(settings, models) as opened:
        await opened.collections.create("notes", CollectionSettings(32, 0))
        await write(opened, *range(COUNT))
        yield opened


def note(number: int) -> DocumentInput:
    first, second = WORDS[number % 7], WORDS[number % 5]
    metadata = {"number": number, "kind": second}
    return DocumentInput(f"{first} and {second} of note{number}", f"n{number}", metadata=metadata)


async def write(resources: Resources, *numbers: int) -> None:
    for start in range(0, len(numbers), 50):
        await resources.documents.add("notes", [note(number) for number in numbers[start : start + 50]])


async def move(resources: Resources, to: str) -> Release:
    return await resources.releases.reindex("notes", ReindexInput(engine=to), promote=True)


async def found(resources: Resources, query: str, **wanted: object) -> dict[str, float]:
    output = await resources.search.search("notes", SearchInput(query, limit=500, **wanted))  # type: ignore[arg-type]
    return {hit.document_id: hit.score for hit in output.hits}


def engine_of(resources: Resources) -> str:
    return next(name for name in resources.engines.names if name != "faiss")


async def test_collection_answers_alike_before_and_after_its_index_moved(resources: Resources) -> None:
    asked = [
        {"query": "маяк of note7", "mode": SearchMode.HYBRID},
        {"query": "gull and rope", "mode": SearchMode.LEXICAL},
        {"query": "lamp harbour", "mode": SearchMode.DENSE},
        {"query": "tide", "filter": {"number": {"$lt": 20}, "kind": "rope"}},
    ]
    before = [await found(resources, **each) for each in asked]  # type: ignore[arg-type]
    release = await move(resources, engine_of(resources))
    assert (release.state, release.engine) == (ReleaseState.SERVING, engine_of(resources))
    assert release.report is not None
    assert (release.report["indexed"], release.report["reasons"]) == (COUNT, [])
    for each, expected in zip(asked, before, strict=True):
        assert await found(resources, **each) == pytest.approx(expected, abs=2e-3)  # type: ignore[arg-type]


async def test_nothing_is_missed_while_the_index_moves_there_and_back(
    resources: Resources, settings: Settings, models: Models
) -> None:
    written = set(range(COUNT))
    moving = True

    async def keep_writing() -> None:
        number = COUNT
        while moving:
            await write(resources, number)
            written.add(number)
            await resources.documents.delete("notes", f"n{number - COUNT}")
            written.discard(number - COUNT)
            number += 1

    async with open_resources(settings, models) as other:
        writing = asyncio.create_task(keep_writing())
        for engine in (engine_of(resources), "faiss"):
            assert (await move(resources, engine)).state == ReleaseState.SERVING
            for reader in (resources, other):
                before = set(written)
                hits = await found(reader, "note")
                standing = before & written  # written before the search, and not deleted until after it
                assert {f"n{number}" for number in standing} <= hits.keys()
        moving = False
        await writing
        for reader in (resources, other):
            assert (await found(reader, "note")).keys() == {f"n{number}" for number in written}


async def test_replicas_share_one_index(resources: Resources, settings: Settings, models: Models) -> None:
    await move(resources, engine_of(resources))
    async with open_resources(settings, models) as other:
        for number in range(COUNT, COUNT + 8):
            writer, reader = (resources, other) if number % 2 else (other, resources)
            await write(writer, number)
            await writer.documents.delete("notes", f"n{number - COUNT}")
            expected = {f"n{each}" for each in range(number - COUNT + 1, number + 1)}
            assert (await found(reader, "note")).keys() == expected
        assert len(resources.engines.stored()) == 1


async def test_index_that_nothing_needs_goes(resources: Resources, settings: Settings) -> None:
    await move(resources, engine_of(resources))
    told = [each for each in examine(settings) if each.check == CHECK]
    assert (told[-1].level, told[-1].message.endswith("holds: 1")) == (Level.OK, True)
    resources.engines.drop(resources.engines.stored()[0])  # by another's hand
    assert len(await found(resources, "note")) == COUNT
    await resources.collections.delete("notes")
    assert await resources.reclaimer.drop_indexes() == 1
    assert resources.engines.stored() == []
