import asyncio
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.config import Config

from app.db.migrations import MIGRATIONS, writer_connection
from app.resources import Models, Resources, open_resources
from app.services.types import AnswerInput, AnswerOutput, DocumentInput, Scope, SearchInput
from app.settings import Settings, load_settings
from app.snapshots.archive import ArchiveWriter
from app.snapshots.checking import verify_snapshot
from app.snapshots.restoring import restore_snapshot
from app.snapshots.writing import create_snapshot
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.errors import Conflict, Unauthenticated, Unreadable
from tests.app.snapshots.conftest import TEXTS, make_build
from tests.app.snapshots.crafted import craft, read_files
from training.siamese.folder import CHECKPOINT

QUESTIONS = ("when was the lighthouse built", "маяк на скале", "灯塔", "bread from flour")


async def answers(resources: Resources) -> list[object]:
    """Hits with all their scores, and answers, without the times that they took."""
    found: list[object] = []
    for question in QUESTIONS:
        hits = await resources.search.search("notes", SearchInput(question))
        found.append(hits.hits)
        events = [event async for event in resources.answers.answer("notes", AnswerInput(question))]
        (output,) = [event for event in events if isinstance(event, AnswerOutput)]
        found.append((output.answer, output.search.hits))
    return found


async def test_restored_folder_answers_identically_with_its_own_copy_of_the_model(tmp_path: Path) -> None:
    encoder = shutil.copytree(BUNDLED_ENCODER, tmp_path / "my-encoder")
    settings = Settings(home=tmp_path / "home", encoder=encoder, threads=1)
    async with open_resources(settings) as resources:
        await resources.collections.create("notes")
        await resources.documents.add("notes", [DocumentInput(text, name) for name, text in TEXTS.items()])
        await make_build(resources)
        expected = await answers(resources)
        await asyncio.to_thread(create_snapshot, settings, tmp_path / "a.tar")
    shutil.rmtree(encoder)
    assert verify_snapshot(tmp_path / "a.tar").problems == ()
    restored = restore_snapshot(tmp_path / "a.tar", tmp_path / "elsewhere" / "home")
    there = load_settings({"FOOTNOTE_HOME": str(restored.home), "FOOTNOTE_THREADS": "1"}, tmp_path)
    assert there.encoder.is_relative_to(restored.home)
    async with open_resources(there) as resources:
        assert await answers(resources) == expected
        (index,) = resources.indexes.held().values()
        assert index.build is not None  # the build came along


async def test_keys_and_identity_are_restored_and_nobody_is_signed_in(
    resources: Resources, models: Models, tmp_path: Path
) -> None:
    key = await resources.keys.create("mine", {Scope.WRITE})
    link = await resources.sessions.make_link({Scope.ADMIN})
    session = await resources.sessions.open_link(await resources.sessions.make_link({Scope.ADMIN}))
    manifest = await asyncio.to_thread(create_snapshot, resources.settings, tmp_path / "a.tar")
    restored = restore_snapshot(tmp_path / "a.tar", tmp_path / "b")
    async with open_resources(replace(resources.settings, home=restored.home), models) as there:
        assert (await there.keys.verify(key.token)).name == "mine"
        # A browser that was signed out after the snapshot would be in again.
        assert await there.sessions.find(session.token) is None
        with pytest.raises(Unauthenticated):
            await there.sessions.open_link(link)
    assert manifest.keys == 1
    assert identity(restored.home) == manifest.database_id == identity(resources.settings.home)


def test_release_finds_its_model_in_the_restored_folder(closed: Settings, tmp_path: Path) -> None:
    mine = shutil.copytree(BUNDLED_ENCODER, closed.home / "models" / "mine")
    (mine / CHECKPOINT / "1_Pooling").mkdir(parents=True)
    (mine / CHECKPOINT / "1_Pooling" / "config.json").write_text("{}")
    execute(closed.home, "UPDATE releases SET encoder = 'models/mine'")
    manifest = create_snapshot(closed, tmp_path / "a.tar")
    restored = restore_snapshot(tmp_path / "a.tar", tmp_path / "b")
    (saved,) = [model for model in manifest.models if model.encoders]
    ((folder,),) = execute(restored.home, "SELECT encoder FROM releases")
    assert folder == saved.folder
    assert (restored.home / folder / "model.onnx").read_bytes() == (
        BUNDLED_ENCODER / "model.onnx"
    ).read_bytes()
    # What a further training starts from comes back with it.
    assert (restored.home / folder / CHECKPOINT / "1_Pooling" / "config.json").read_text() == "{}"


def test_settings_of_the_data_folder_are_restored_without_its_folders(
    closed: Settings, tmp_path: Path
) -> None:
    (closed.home / "footnote.toml").write_text('host = "::1"\nport = 8123\nencoder = "gone"\n')
    create_snapshot(closed, tmp_path / "a.tar")
    home = restore_snapshot(tmp_path / "a.tar", tmp_path / "b").home
    settings = load_settings({"FOOTNOTE_HOME": str(home)}, tmp_path)
    assert (settings.host, settings.port, settings.encoder) == ("::1", 8123, BUNDLED_ENCODER)


def test_folder_that_holds_something_is_left_alone(closed: Settings, tmp_path: Path) -> None:
    create_snapshot(closed, tmp_path / "a.tar")
    before = (closed.home / "footnote.db").read_bytes()
    with pytest.raises(Conflict, match="not an empty folder"):
        restore_snapshot(tmp_path / "a.tar", closed.home)
    assert (closed.home / "footnote.db").read_bytes() == before


def test_empty_folder_may_be_restored_into(closed: Settings, tmp_path: Path) -> None:
    create_snapshot(closed, tmp_path / "a.tar")
    (tmp_path / "b").mkdir()
    restored = restore_snapshot(tmp_path / "a.tar", tmp_path / "b")
    assert (restored.home / "footnote.db").is_file()
    assert not list(tmp_path.glob(".*"))


def test_older_database_is_brought_up_to_date(closed: Settings, tmp_path: Path) -> None:
    newest = create_snapshot(closed, tmp_path / "new.tar")
    older = msgspec.structs.replace(newest, revision="0001")
    craft(tmp_path / "old.tar", older, {"footnote.db": first_database(tmp_path / "old.db")})
    home = restore_snapshot(tmp_path / "old.tar", tmp_path / "b").home
    assert execute(home, "SELECT version_num FROM alembic_version") == [(newest.revision,)]
    assert execute(home, "SELECT name FROM collections") == [("old",)]


@pytest.mark.parametrize(("field", "value"), [("format", 2), ("revision", "9999")])
def test_snapshot_of_a_newer_version_is_refused(
    field: str, value: object, closed: Settings, tmp_path: Path
) -> None:
    newer = msgspec.structs.replace(create_snapshot(closed, tmp_path / "a.tar"), **{field: value})
    craft(tmp_path / "newer.tar", newer, read_files(tmp_path / "a.tar"))
    with pytest.raises(Conflict, match="newer version") as raised:
        restore_snapshot(tmp_path / "newer.tar", tmp_path / "b")
    assert raised.value.next_step == "install the version that made it, or a later one"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "indexes/../../evil",
        "indexes//evil",
        ".ssh/evil",
        "uploads/a\\..\\evil",
        "a\n",
    ],
)
def test_member_that_would_leave_the_folder_is_refused(name: str, closed: Settings, tmp_path: Path) -> None:
    manifest = create_snapshot(closed, tmp_path / "a.tar")
    craft(tmp_path / "evil.tar", manifest, {**read_files(tmp_path / "a.tar"), name: b"evil"})
    with pytest.raises(Unreadable, match="not a snapshot"):
        restore_snapshot(tmp_path / "evil.tar", tmp_path / "x" / "b")
    assert not list(tmp_path.rglob("*evil"))
    assert not (tmp_path / "x" / "b").exists()


def test_member_that_the_manifest_does_not_name_is_refused(closed: Settings, tmp_path: Path) -> None:
    manifest = create_snapshot(closed, tmp_path / "a.tar")
    files = {**read_files(tmp_path / "a.tar"), "models/extra": b"x"}
    craft(tmp_path / "more.tar", manifest, files, listed=False)
    with pytest.raises(Unreadable, match="models/extra"):
        restore_snapshot(tmp_path / "more.tar", tmp_path / "b")


def test_link_is_refused(closed: Settings, tmp_path: Path) -> None:
    manifest = create_snapshot(closed, tmp_path / "a.tar")
    link = tarfile.TarInfo("models/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with (tmp_path / "link.tar").open("wb") as stream:
        writer = ArchiveWriter(stream, lambda _: None)
        writer._write(link.tobuf())
        for name, content in read_files(tmp_path / "a.tar").items():
            writer.add(name, BytesIO(content))
        writer.finish(msgspec.json.encode(manifest))
    with pytest.raises(Unreadable, match="a link"):
        restore_snapshot(tmp_path / "link.tar", tmp_path / "b")


def test_stopped_restore_leaves_nothing(closed: Settings, tmp_path: Path) -> None:
    create_snapshot(closed, tmp_path / "a.tar")

    def stop(what: str, _done: int, _total: int) -> None:
        if what == "files restored":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_snapshot(tmp_path / "a.tar", tmp_path / "b", stop)
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".*"))


def first_database(path: Path) -> bytes:
    """A database of the first revision with one collection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writer_connection(path, 1) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO collections"
            " (name, chunk_max_tokens, chunk_overlap_tokens, last_seq, created_at, updated_at)"
            " VALUES ('old', 200, 30, 0, '2026-01-01', '2026-01-01')"
        )
    return path.read_bytes()


def identity(home: Path) -> str:
    ((database_id,),) = execute(home, "SELECT database_id FROM identity")
    return str(database_id)


def execute(home: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(home / "footnote.db")) as connection, connection:
        return connection.execute(statement).fetchall()
