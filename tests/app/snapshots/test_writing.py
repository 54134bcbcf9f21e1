import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.resources import Models, Resources
from app.services.types import DocumentInput
from app.settings import Settings
from app.snapshots.checking import verify_snapshot
from app.snapshots.contents import choose_builds, read_facts
from app.snapshots.databases import connect, find_problems
from app.snapshots.disk import workshop
from app.snapshots.restoring import restore_snapshot
from app.snapshots.writing import create_snapshot
from embeddings.errors import Conflict, NotFound, Unreadable
from tests.app.snapshots.conftest import make_build
from tests.app.snapshots.crafted import read_files

REPOSITORY = Path(__file__).parents[3]


async def test_all_that_was_acknowledged_before_is_in_it_and_nothing_is_torn(
    resources: Resources, notes: str, models: Models, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    stopping = asyncio.Event()

    async def write() -> None:
        while not stopping.is_set():
            batch = [f"{len(acknowledged) + at}" for at in range(5)]
            await resources.documents.add(notes, [DocumentInput(f"Text {n}. " * 200, n) for n in batch])
            acknowledged.extend(batch)

    writer = asyncio.create_task(write())
    for number in range(5):
        while len(acknowledged) < 20 * (number + 1):  # noqa: ASYNC110  # it only watches
            await asyncio.sleep(0.001)
        before, target = set(acknowledged), tmp_path / f"{number}.tar"
        await asyncio.to_thread(create_snapshot, resources.settings, target)
        home = restore_snapshot(target, tmp_path / f"restored-{number}").home
        with closing(sqlite3.connect(home / "footnote.db")) as connection:
            saved = {row[0] for row in connection.execute("SELECT external_id FROM documents")}
            ((last_seq,),) = connection.execute("SELECT last_seq FROM collections")
            ((vectors,),) = connection.execute("SELECT count(*) FROM vectors")
        assert before <= saved
        assert len(saved) == last_seq  # each write is there with all that its sequence number says
        assert len(saved) % 5 == 0  # and each batch as a whole
        assert vectors >= len(saved)
    stopping.set()
    await writer


async def test_copy_ends_beside_a_process_that_never_stops_writing(
    settings: Settings, models: Models, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.app.acknowledging_writer", str(settings.home)]
    with subprocess.Popen(  # noqa: ASYNC220  # as in test_durability
        [*command, str(models.tokenizer)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(30)]
        manifest = await asyncio.to_thread(create_snapshot, settings, tmp_path / "a.tar")
        process.kill()
    kept = {number for action, number in said if action == "added"} - {
        number for action, number in said if action == "deleted"
    }
    assert manifest.documents >= len(kept) - 1  # the last of them may be deleted by now
    home = restore_snapshot(tmp_path / "a.tar", tmp_path / "b").home
    assert find_problems(home / "footnote.db", full=True) == []


async def test_newest_fitting_build_is_in_it(stocked: Resources, tmp_path: Path) -> None:
    await make_build(stocked)
    await stocked.documents.add("notes", [DocumentInput("New.", "new")])
    await make_build(stocked)
    newest = max((stocked.settings.home / "indexes" / "1").iterdir()).name
    manifest = await asyncio.to_thread(create_snapshot, stocked.settings, tmp_path / "a.tar")
    assert manifest.builds == (f"1/{newest}",)


async def test_build_that_is_ahead_of_the_copy_or_damaged_is_left_out(
    stocked: Resources, tmp_path: Path
) -> None:
    await make_build(stocked)
    with connect(stocked.settings.home / "footnote.db", 1) as connection:
        facts = read_facts(connection)
    (group,) = choose_builds(stocked.settings.home, facts)
    facts.last_seqs[1] -= 1
    assert choose_builds(stocked.settings.home, facts) == []
    facts.last_seqs[1] += 1
    vectors = next(place for name, place in group.files.items() if name.endswith(".faiss"))
    vectors.write_bytes(vectors.read_bytes()[:-1])
    assert choose_builds(stocked.settings.home, facts) == []


async def test_build_that_vanishes_meanwhile_is_left_out(stocked: Resources, tmp_path: Path) -> None:
    await make_build(stocked)
    home = stocked.settings.home

    def remove_builds(what: str, _done: int, _total: int) -> None:
        if what == "bytes written":
            shutil.rmtree(home / "indexes" / "1", ignore_errors=True)

    manifest = await asyncio.to_thread(create_snapshot, stocked.settings, tmp_path / "a.tar", remove_builds)
    assert manifest.builds == ()
    assert set(manifest.files) == set(read_files(tmp_path / "a.tar")) == {"footnote.db"}


def test_jobs_database_and_the_files_that_jobs_name_are_in_it(closed: Settings, tmp_path: Path) -> None:
    with closing(sqlite3.connect(closed.home / "jobs.db")) as connection, connection:
        connection.execute("CREATE TABLE workflows (id)")
    with closing(sqlite3.connect(closed.home / "footnote.db")) as connection, connection:
        connection.execute(
            "INSERT INTO jobs (id, kind, input, state, attempt, starts, progress, created_at)"
            " VALUES ('j', 'ingest', '{}', 'queued', 1, 0, '{}', '2026-01-01')"
        )
        connection.executemany(
            "INSERT INTO job_items (job_id, ordinal, name, path, state, starts)"
            " VALUES ('j', ?, 'a.txt', ?, 'pending', 0)",
            [(0, "uploads/j/0"), (1, "uploads/j/1")],
        )
    (closed.home / "uploads" / "j").mkdir(parents=True)
    (closed.home / "uploads" / "j" / "0").write_text("waiting")
    manifest = create_snapshot(closed, tmp_path / "a.tar")
    home = restore_snapshot(tmp_path / "a.tar", tmp_path / "b").home
    assert manifest.jobs == 1
    assert (home / "uploads" / "j" / "0").read_text() == "waiting"
    assert find_problems(home / "jobs.db", full=True) == []


def test_file_is_for_this_user_only(closed: Settings, tmp_path: Path) -> None:
    create_snapshot(closed, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o600


KILLED = """
import os, signal, sys
from pathlib import Path
from app.settings import Settings
from app.snapshots.restoring import restore_snapshot
from app.snapshots.writing import create_snapshot

def die(what, done, total):
    if what == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

home, file, target = map(Path, sys.argv[2:])
if target.name == "restored":
    restore_snapshot(file, target, die)
else:
    create_snapshot(Settings(home=home), target, die)
"""


@pytest.mark.parametrize("at", ["pages of footnote.db", "checks of footnote.db", "bytes written"])
def test_killed_process_leaves_no_file_and_does_not_stand_in_the_way(
    at: str, closed: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "a.tar"
    assert kill(at, closed.home, target, target) == -signal.SIGKILL
    assert not target.exists()
    create_snapshot(closed, target)
    assert verify_snapshot(target).problems == ()
    assert not list(tmp_path.glob(".*"))


def test_killed_restore_leaves_no_folder_and_does_not_stand_in_the_way(
    closed: Settings, tmp_path: Path
) -> None:
    file, target = tmp_path / "a.tar", tmp_path / "restored"
    create_snapshot(closed, file)
    assert kill("files restored", closed.home, file, target) == -signal.SIGKILL
    assert not target.exists()
    assert restore_snapshot(file, target).manifest.documents == 4
    assert not list(tmp_path.glob(".*"))


def kill(at: str, *places: Path) -> int:
    """Run KILLED until it ends itself; returns how."""
    command = [sys.executable, "-c", KILLED, at, *map(str, places)]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def test_existing_file_is_never_replaced(closed: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("precious")
    with pytest.raises(Conflict, match="exists already"):
        create_snapshot(closed, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_text() == "precious"


def test_absent_folders_are_told(closed: Settings, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        create_snapshot(closed, tmp_path / "absent" / "a.tar")
    with pytest.raises(NotFound, match="no database"):
        create_snapshot(Settings(home=tmp_path / "absent"), tmp_path / "a.tar")


def test_one_process_at_a_time_makes_a_file(closed: Settings, tmp_path: Path) -> None:
    with (
        workshop(tmp_path / "a.tar"),
        pytest.raises(Conflict, match="another process is making"),
    ):
        create_snapshot(closed, tmp_path / "a.tar")


def test_what_a_killed_process_left_goes_first(closed: Settings, tmp_path: Path) -> None:
    (tmp_path / ".a.tar.partial" / "old").mkdir(parents=True)
    (tmp_path / ".a.tar.partial" / "footnote.db").write_text("half")
    create_snapshot(closed, tmp_path / "a.tar")
    assert not (tmp_path / ".a.tar.partial").exists()


@pytest.mark.parametrize("at", ["pages of footnote.db", "checks of footnote.db", "bytes written"])
def test_stopped_work_leaves_nothing(at: str, closed: Settings, tmp_path: Path) -> None:
    def stop(what: str, _done: int, _total: int) -> None:
        if what == at:
            raise KeyboardInterrupt

    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        create_snapshot(closed, tmp_path / "a.tar", stop)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("share", [0.5, 1.001])
def test_full_disk_is_told_and_leaves_nothing(share: float, closed: Settings, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: below the database's own size, or just above it."""
    before = set(tmp_path.iterdir())
    limit = int((closed.home / "footnote.db").stat().st_size * share)
    program = (
        "import resource, sys; from app.cli.program import program; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); program()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "snapshot", "create", str(tmp_path / "a.tar")],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={"FOOTNOTE_HOME": str(closed.home)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: the disk took no more in {tmp_path}" in done.stderr
    assert "free some space or choose another folder; nothing was left behind" in done.stderr
    assert set(tmp_path.iterdir()) == before


def test_damaged_database_is_not_backed_up_as_if_it_were_whole(closed: Settings, tmp_path: Path) -> None:
    content = bytearray((closed.home / "footnote.db").read_bytes())
    with connect(closed.home / "footnote.db", 1) as connection:
        statement = "SELECT rootpage FROM sqlite_schema WHERE name = 'ix_documents_seq'"
        ((page,),) = connection.execute(statement)
        ((page_size,),) = connection.execute("PRAGMA page_size")
    content[(page - 1) * page_size + 8 : page * page_size] = bytes(page_size - 8)
    (closed.home / "footnote.db").write_bytes(content)
    with pytest.raises(Unreadable, match="is damaged") as raised:
        create_snapshot(closed, tmp_path / "a.tar")
    assert "restore the latest snapshot" in str(raised.value.next_step)
    assert not (tmp_path / "a.tar").exists()
