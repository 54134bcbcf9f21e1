"""Indexes on engines: shared by processes, moved while they serve, made anew, dropped when needless."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import index_lag
from app.cli.program import program
from app.db.engine import Database
from app.engines import IndexEngines
from app.resources import Models, Resources, open_resources
from app.services.release_types import ReindexInput, Release, ReleaseState
from app.services.types import CollectionSettings, DocumentInput, SearchInput
from app.settings import Settings
from app.snapshots.restoring import restore_snapshot
from app.snapshots.writing import create_snapshot
from embeddings.errors import Conflict, InvalidInput, Overloaded, UpstreamFailed
from retrieval.engines.address import parse_engines
from retrieval.engines.types import IndexKey
from tests.app.hashing_encoder import HashingEncoder
from tests.app.shared_engine import SHOWN, URL, SharedEngine


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SharedEngine:
    shared = SharedEngine()
    shared.serve(monkeypatch)
    return shared


@pytest.fixture
def settings(settings: Settings, engine: SharedEngine) -> Settings:
    return replace(settings, index_url=f"faiss {URL}")


@pytest.fixture
async def notes(resources: Resources) -> str:
    await resources.collections.create("notes", CollectionSettings(32, 0))
    await write(resources, *range(20))
    return "notes"


@pytest.fixture
async def other(resources: Resources, settings: Settings, models: Models) -> AsyncIterator[Resources]:
    """Another process on the same database and engine."""
    async with open_resources(settings, models) as opened:
        yield opened


async def write(resources: Resources, *numbers: int) -> None:
    await resources.documents.add("notes", [DocumentInput(f"note tide{n}", f"n{n}") for n in numbers])


async def move(resources: Resources, to: str, promote: bool = True) -> Release:
    return await resources.releases.reindex("notes", ReindexInput(engine=to), promote=promote)


async def found(resources: Resources, query: str = "note") -> set[str]:
    output = await resources.search.search("notes", SearchInput(query, limit=1000))
    return {hit.document_id for hit in output.hits}


def all_of(*numbers: int) -> set[str]:
    return {f"n{n}" for n in numbers}


async def test_index_moves_to_an_engine_and_back_and_nothing_is_encoded_anew(
    resources: Resources, notes: str, engine: SharedEngine, encoder: HashingEncoder
) -> None:
    encoded = list(encoder.encoded)
    release = await move(resources, SHOWN)
    assert (release.number, release.state, release.engine) == (2, ReleaseState.SERVING, SHOWN)
    assert release.report is not None
    assert release.report["recall_at_10"] == 1.0
    assert (await resources.collections.get(notes)).engine == SHOWN
    assert encoder.encoded == encoded
    (stored,) = engine.indexes.values()
    assert len(stored.index) == 20
    await write(resources, 20)
    assert await found(resources) == all_of(*range(21))
    await resources.releases.rollback(notes)
    assert (await resources.collections.get(notes)).engine == "faiss"
    assert await found(resources) == all_of(*range(21))


async def test_writes_of_each_process_are_found_by_the_next_search_of_the_other(
    resources: Resources, notes: str, other: Resources, engine: SharedEngine
) -> None:
    await move(resources, SHOWN)
    assert await found(other) == all_of(*range(20))
    for number in range(20, 30):
        writer, reader = (resources, other) if number % 2 else (other, resources)
        await write(writer, number)
        await writer.documents.delete(notes, f"n{number - 20}")
        assert await found(reader) == all_of(*range(number - 19, number + 1))
        assert await found(writer) == all_of(*range(number - 19, number + 1))
    assert len(engine.indexes) == 1


async def test_processes_that_follow_at_once_lose_nothing(
    resources: Resources, notes: str, other: Resources
) -> None:
    await move(resources, SHOWN)
    written = list(range(20))
    stop = asyncio.Event()

    async def search(reader: Resources) -> None:
        while not stop.is_set():
            before = all_of(*written)
            assert before <= await found(reader)

    searches = [asyncio.create_task(search(each)) for each in (resources, other, other)]
    for number in range(20, 50):
        await write(resources if number % 3 else other, number)
        written.append(number)
    stop.set()
    await asyncio.gather(*searches)


async def test_index_that_was_dropped_is_made_anew(
    resources: Resources, notes: str, engine: SharedEngine
) -> None:
    await move(resources, SHOWN)
    assert await found(resources) == all_of(*range(20))
    engine.indexes.clear()
    assert await found(resources) == all_of(*range(20))
    engine.indexes.clear()
    await write(resources, 20)
    assert await found(resources) == all_of(*range(21))


async def test_new_collection_is_kept_by_the_first_engine_of_the_settings(
    settings: Settings, models: Models, engine: SharedEngine
) -> None:
    async with open_resources(replace(settings, index_url=URL), models) as resources:
        assert (await resources.collections.create("notes")).engine == SHOWN
        await write(resources, 1)
        assert await found(resources) == all_of(1)
        assert len(engine.indexes) == 1


async def test_engine_that_cannot_be_reached_stops_its_own_collections_only(
    resources: Resources, notes: str, engine: SharedEngine, settings: Settings, models: Models
) -> None:
    await resources.collections.create("files")
    await resources.documents.add("files", [DocumentInput("a boat", "boat")])
    await move(resources, SHOWN)
    engine.lost = True
    async with open_resources(settings, models) as started:
        await started.warm()
        with pytest.raises(Overloaded):
            await found(started)
        output = await started.search.search("files", SearchInput("boat"))
        assert [hit.document_id for hit in output.hits] == ["boat"]
        await started.indexes.hold_ready()
        engine.lost = False
        assert await found(started) == all_of(*range(20))


async def test_engine_that_is_lost_hides_no_figures_and_keeps_no_other_collection_behind(
    resources: Resources, other: Resources, notes: str, engine: SharedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_lag, "FOLLOW_AFTER_S", -1.0)
    await resources.collections.create("files")
    await move(resources, SHOWN)
    await other.warm()
    engine.lost = True
    await resources.documents.add("files", [DocumentInput("a boat", "boat")])
    await write(resources, 20)  # writing needs no engine
    await index_lag.keep_up(other.database, other.indexes)
    lags = await index_lag.index_lags(other.database, other.indexes)
    assert {lag.collection.name: lag.writes for lag in lags} == {"notes": 1, "files": 0}
    engine.lost = False
    assert await found(other) == all_of(*range(21))


async def test_collection_leaves_an_engine_that_is_lost(
    resources: Resources, notes: str, engine: SharedEngine
) -> None:
    await resources.releases.add_golden(notes, "tide3", ["n3"])
    await move(resources, SHOWN)
    engine.lost = True
    release = await move(resources, "faiss")
    assert (release.state, release.engine) == (ReleaseState.SERVING, None)
    assert release.report is not None
    assert release.report["golden_recall_at_10_in_service"] is None
    assert await found(resources) == all_of(*range(20))


async def test_engine_that_the_settings_do_not_name_is_refused(
    resources: Resources, notes: str, settings: Settings, models: Models
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await move(resources, "postgresql://elsewhere.test/indexes")
    assert SHOWN in str(refused.value.expected)
    assert "secret" not in f"{refused.value} {refused.value.expected} {refused.value.next_step}"
    with pytest.raises(Conflict):
        await move(resources, "faiss")
    await move(resources, SHOWN)
    async with open_resources(replace(settings, index_url="faiss"), models) as started:
        with pytest.raises(UpstreamFailed) as caught:
            await found(started)
        assert "FOOTNOTE_INDEX_URL" in str(caught.value.next_step)


async def test_prune_drops_what_engines_keep_for_retired_releases_only(
    resources: Resources, notes: str, engine: SharedEngine
) -> None:
    await move(resources, SHOWN)
    assert (await resources.releases.prune(notes)).indexes == 0
    await move(resources, "faiss")
    assert (await resources.releases.prune(notes)).indexes == 0  # the previous one may come back
    await resources.releases.reindex(notes, ReindexInput(chunk_max_tokens=16), promote=True)
    assert (await resources.releases.prune(notes)).indexes == 1
    assert engine.indexes == {}


async def test_what_engines_keep_of_deleted_collections_goes(
    resources: Resources, notes: str, engine: SharedEngine
) -> None:
    await move(resources, SHOWN)
    foreign = IndexKey(1, "tokens-32-0", "hashing@1", "another database")
    engine.open(parse_engines(URL, None)[0], foreign, 8)
    assert await resources.reclaimer.drop_indexes() == 0
    await resources.collections.delete(notes)
    await resources.reclaimer.finish()
    assert await resources.reclaimer.drop_indexes() == 1
    assert list(engine.indexes) == [foreign]


def test_one_database_with_two_names_is_one_engine(engine: SharedEngine) -> None:
    own = "postgresql://me:secret@engine.test/indexes"
    engines = IndexEngines(parse_engines("postgresql " + URL, own), "db")
    (first, *_) = parse_engines("postgresql", own)
    engine.open(first, IndexKey(1, "tokens-32-0", "m@1", "db"), 8)
    (stored,) = engines.stored()
    assert engines.unneeded([stored], [replace(stored, engine=SHOWN)]) == []
    assert engines.unneeded([stored], [replace(stored, engine=None)]) == [stored]


async def test_index_of_a_later_state_of_the_database_is_refused(
    resources: Resources, notes: str, engine: SharedEngine, settings: Settings, models: Models
) -> None:
    await move(resources, SHOWN)
    (stored,) = engine.indexes.values()
    stored.index.apply([], [], stored.index.seq + 5)
    async with open_resources(settings, models) as started:
        await started.warm()
        with pytest.raises(Conflict) as caught:
            await found(started)
        assert "migrate-index notes --to faiss" in str(caught.value.next_step)
        await move(started, "faiss")
        assert await found(started) == all_of(*range(20))


async def test_index_of_a_later_state_is_made_anew_by_a_release_that_is_being_built(
    resources: Resources, notes: str, engine: SharedEngine, settings: Settings, models: Models
) -> None:
    await move(resources, SHOWN, promote=False)
    (stored,) = engine.indexes.values()
    stored.index.apply([], [], stored.index.seq + 5)
    async with open_resources(settings, models) as started:
        release = await move(started, SHOWN)
        assert release.state == ReleaseState.SERVING
        assert await found(started) == all_of(*range(20))


async def test_restored_snapshot_has_its_indexes_in_files_and_none_of_the_originals(
    resources: Resources, notes: str, engine: SharedEngine, settings: Settings, models: Models, tmp_path: Path
) -> None:
    await move(resources, SHOWN)
    create_snapshot(settings, tmp_path / "snapshot")
    restored = restore_snapshot(tmp_path / "snapshot", tmp_path / "restored")
    assert [note for note in restored.notes if SHOWN in note]
    engine.lost = True
    async with open_resources(replace(settings, home=restored.home), models) as copy:
        assert await found(copy) == all_of(*range(20))
        engine.lost = False
        await move(copy, SHOWN)
        await write(copy, 77)
        assert await found(copy) == all_of(*range(20), 77)
        assert await copy.reclaimer.drop_indexes() == 0
    assert await found(resources) == all_of(*range(20))
    assert len(engine.indexes) == 2


async def test_search_of_an_index_in_files_asks_sql_once_for_what_is_served(
    resources: Resources, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await found(resources)
    asked = []
    fetch_now = Database.fetch_now

    def counted(database: Database, statement: object, parameters: object) -> object:
        asked.append(statement)
        return fetch_now(database, statement, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "fetch_now", counted)
    await found(resources)
    assert len(asked) == 2  # what is served, and the hits


def test_commands_move_an_index_and_tell_where_it_is(engine: SharedEngine, tmp_path: Path) -> None:
    environ = {"FOOTNOTE_HOME": str(tmp_path), "FOOTNOTE_INDEX_URL": f"faiss {URL}", "FOOTNOTE_THREADS": "1"}

    def run(*words: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(program, list(words), env=environ)
        assert result.exit_code == exit_code, result.output
        assert "secret" not in result.output
        return result.output

    run("collections", "create", "notes")
    made = json.loads(run("migrate-index", "notes", "--to", SHOWN, "--wait-for-approval", "--json"))
    assert (made["number"], made["state"], made["engine"]) == (2, "ready", SHOWN)
    assert SHOWN in run("releases", "promote", "notes", "2")
    assert SHOWN in run("collections", "show", "notes")
    listed = json.loads(run("releases", "list", "notes", "--json"))["releases"]
    assert [each["engine"] for each in listed] == [SHOWN, "faiss"]
    assert "already as wanted" in run("migrate-index", "notes", "--to", URL, exit_code=2)
    assert "FOOTNOTE_INDEX_URL" in run("migrate-index", "notes", "--to", "postgresql", exit_code=2)
    run("collections", "delete", "notes", "--yes")
    assert engine.indexes == {}
