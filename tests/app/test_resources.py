import asyncio
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from app.db.migrations import writer_connection
from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput, ItemStatus, SearchInput
from app.settings import Settings
from embeddings.errors import InvalidInput, ModelDamaged, Overloaded, StorageFull


async def test_data_folder_is_made_for_this_user_only(settings: Settings, models: Models) -> None:
    async with open_resources(settings, models):
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


async def test_data_folder_that_cannot_be_made_is_told(
    settings: Settings, models: Models, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput) as caught:
        async with open_resources(replace(settings, home=tmp_path / "file" / "home"), models):
            pass
    assert caught.value.field == "FOOTNOTE_HOME"


async def test_named_decoder_that_is_absent_is_told(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged):
        async with open_resources(replace(settings, decoder=tmp_path / "none")):
            pass


async def test_two_services_open_one_new_folder_at_once(settings: Settings, models: Models) -> None:
    async def open_and_write(name: str) -> None:
        async with open_resources(settings, models) as opened:
            await opened.collections.create(name)

    await asyncio.gather(*(open_and_write(f"c{i}") for i in range(4)))
    async with open_resources(settings, models) as opened:
        assert len(await opened.collections.list()) == 4


async def test_writers_of_one_process_take_turns_and_lose_nothing(resources: Resources, notes: str) -> None:
    batches = [[DocumentInput(f"Text {i} {j}.", f"{i}-{j}") for j in range(5)] for i in range(10)]
    await asyncio.gather(*(resources.documents.add(notes, batch) for batch in batches))
    info = await resources.collections.get(notes)
    assert (info.documents, info.last_seq) == (50, 50)


async def test_database_locked_for_too_long_is_overload_and_writes_nothing(
    resources: Resources, notes: str
) -> None:
    with writer_connection(resources.settings.database, 1), pytest.raises(Overloaded):
        await resources.documents.add(notes, [DocumentInput("Text.")])
    assert (await resources.collections.get(notes)).documents == 0


async def test_readers_go_on_while_another_process_writes(resources: Resources, notes: str) -> None:
    await resources.documents.add(notes, [DocumentInput("Text.", "x")])
    with writer_connection(resources.settings.database, 1) as other:
        other.exec_driver_sql("DELETE FROM documents")
        assert len((await resources.search.search(notes, SearchInput("text"))).hits) == 1
        other.rollback()


@pytest.mark.usefixtures("sqlite_only")
async def test_full_disk_is_told_and_nothing_is_half_written(resources: Resources, notes: str) -> None:
    await resources.documents.add(notes, [DocumentInput("Before.", "before")])
    async with resources.database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
    await limit_pages(resources, pages + 8)
    with pytest.raises(StorageFull):
        await resources.documents.add(notes, [DocumentInput("Some words. " * 8000, "big")])
    (small,) = await resources.documents.add(notes, [DocumentInput("After.", "after")])
    assert small.status == ItemStatus.CREATED
    info = await resources.collections.get(notes)
    assert (info.documents, info.last_seq) == (2, 2)


async def limit_pages(resources: Resources, most: int) -> None:
    """SQLite then says that the disk is full, as it does on a disk that is. The limit is the connection's."""
    async with resources.database.write() as connection:
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")


async def test_bundled_models_find_by_meaning_what_shares_no_word_with_the_question(
    settings: Settings,
) -> None:
    async with open_resources(settings) as opened:
        await opened.collections.create("coast")
        texts = {
            "light": "At night a lamp on the tower warns sailors of the rocks.",
            "bread": "Bake the dough in a hot oven until its crust is brown.",
            "маяк": "Ночью фонарь на башне предупреждает моряков о скалах.",
        }
        results = await opened.documents.add(
            "coast", [DocumentInput(text, name) for name, text in texts.items()]
        )
        assert [result.truncated for result in results] == [0, 0, 0]
        meaning = await opened.search.search("coast", SearchInput("How do ships avoid danger in the dark?"))
        assert meaning.hits[0].document_id == "light"
        words = await opened.search.search("coast", SearchInput("фонари башен"))
        assert words.hits[0].document_id == "маяк"
        assert words.weights is not None
        assert words.weights.dense < words.weights.lexical


@pytest.mark.usefixtures("sqlite_only")
async def test_disk_that_fills_up_during_a_batch_keeps_what_was_written_before(
    resources: Resources, notes: str
) -> None:
    async with resources.database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
    await limit_pages(resources, pages + 150)
    texts = [f"Text {i}. " + "Some words follow here. " * 4000 for i in range(8)]
    results = await resources.documents.add(
        notes, [DocumentInput(text, str(i)) for i, text in enumerate(texts)]
    )
    statuses = [result.status for result in results]
    written = statuses.count(ItemStatus.CREATED)
    assert 0 < written < 8
    assert statuses == [ItemStatus.CREATED] * written + [ItemStatus.ERROR] * (8 - written)
    assert all(isinstance(result.error, StorageFull) for result in results[written:])
    assert (await resources.collections.get(notes)).documents == written
