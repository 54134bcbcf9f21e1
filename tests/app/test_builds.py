"""Where builds lie, which of them is opened, and what is swept away."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.builds import KEPT_BUILDS, LIVE, LOCK, SILENT_S, BuildStore
from retrieval.builds.manifest import BuildOrigin
from retrieval.builds.sealing import SealOptions
from retrieval.index import CollectionIndex
from tests.retrieval.test_index import DIMENSION, chunk

DATABASE = "d" * 32


@pytest.fixture
def store(tmp_path: Path) -> BuildStore:
    return BuildStore(tmp_path / "indexes", DATABASE)


@pytest.fixture
def origin(store: BuildStore) -> BuildOrigin:
    return store.origin(1, "200/30", "encoder@1")


def seal(store: BuildStore, origin: BuildOrigin, seq: int) -> Path:
    index = store.new_index(DIMENSION)
    index.apply([chunk(i, text="apple") for i in range(seq)], [], seq)
    return store.seal(index, origin, SealOptions())


def opened(store: BuildStore, origin: BuildOrigin, last_seq: int = 100) -> CollectionIndex:
    index = store.open(origin, DIMENSION, last_seq)
    assert index is not None
    return index


def test_newest_build_is_opened(store: BuildStore, origin: BuildOrigin) -> None:
    seal(store, origin, 5)
    seal(store, origin, 12)
    index = opened(store, origin)
    assert (index.seq, len(index)) == (12, 12)


def test_damaged_build_gives_way_to_the_one_before_and_is_removed(
    store: BuildStore, origin: BuildOrigin
) -> None:
    seal(store, origin, 5)
    newest = seal(store, origin, 12)
    data = bytearray((newest / "vectors.faiss").read_bytes())
    data[-3] ^= 1
    (newest / "vectors.faiss").write_bytes(data)

    assert opened(store, origin).seq == 5
    assert not newest.exists()


def test_build_that_is_ahead_of_the_database_is_not_used(store: BuildStore, origin: BuildOrigin) -> None:
    seal(store, origin, 5)
    seal(store, origin, 12)
    assert opened(store, origin, last_seq=8).seq == 5


def test_build_of_another_model_chunking_or_database_is_not_used(
    tmp_path: Path, store: BuildStore, origin: BuildOrigin
) -> None:
    seal(store, origin, 5)
    assert store.open(store.origin(1, "200/30", "other@1"), DIMENSION, 100) is None
    assert store.open(store.origin(1, "99/0", "encoder@1"), DIMENSION, 100) is None
    foreign = BuildStore(tmp_path / "indexes", "e" * 32)
    assert foreign.open(foreign.origin(1, "200/30", "encoder@1"), DIMENSION, 100) is None


def test_only_the_newest_builds_are_kept(store: BuildStore, origin: BuildOrigin) -> None:
    sealed = [seal(store, origin, seq) for seq in range(1, 6)]
    assert [build.exists() for build in sealed] == [False] * (5 - KEPT_BUILDS) + [True] * KEPT_BUILDS


def test_machines_that_share_the_folder_have_time_to_go_over_to_a_newer_build(
    tmp_path: Path, origin: BuildOrigin
) -> None:
    patient = BuildStore(tmp_path / "indexes", DATABASE, kept_s=600.0)
    sealed = [seal(patient, origin, seq) for seq in range(1, 6)]
    assert all(build.exists() for build in sealed)
    later = BuildStore(tmp_path / "indexes", DATABASE, kept_s=0.0)
    sealed.append(seal(later, origin, 6))
    assert [build.exists() for build in sealed] == [False] * (6 - KEPT_BUILDS) + [True] * KEPT_BUILDS


def test_searched_index_outlives_its_build(store: BuildStore, origin: BuildOrigin) -> None:
    seal(store, origin, 1)
    index = opened(store, origin)
    for seq in range(2, 6):
        seal(store, origin, seq)
    index.apply([chunk(50, text="pear")], [], 50)
    assert len(index) == 2


def test_failed_seal_leaves_nothing(tmp_path: Path, store: BuildStore, origin: BuildOrigin) -> None:
    class StoppedError(Exception):
        pass

    def stop(_done: int, _total: int) -> None:
        raise StoppedError

    index = store.new_index(DIMENSION)
    index.apply([chunk(1)], [], 1)
    with pytest.raises(StoppedError):
        store.seal(index, origin, SealOptions(progress=stop))
    assert list((tmp_path / "indexes" / "1").iterdir()) == []
    assert store.open(origin, DIMENSION, 100) is None


ENDLESS = """
import sys, time
from pathlib import Path
from app.builds import BuildStore
store = BuildStore(Path(sys.argv[1]), "d" * 32)
index = store.new_index(8)
print("made", flush=True)
time.sleep(600)
"""


def test_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(
    tmp_path: Path, store: BuildStore
) -> None:
    root = tmp_path / "indexes"
    command = [sys.executable, "-c", ENDLESS, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store.sweep()
        assert len(list((root / LIVE).iterdir())) == 1
        os.kill(process.pid, signal.SIGKILL)
    store.sweep()
    assert list((root / LIVE).iterdir()) == []


def test_folder_of_another_machine_is_swept_when_that_has_been_silent_for_long(
    tmp_path: Path, store: BuildStore
) -> None:
    folder = tmp_path / "indexes" / LIVE / "elsewhere.7-abcdef"
    folder.mkdir(parents=True)
    (folder / LOCK).touch()  # locked there, which this machine may not see
    store.sweep()
    assert folder.exists()
    silent_since = time.time() - 2 * SILENT_S
    os.utime(folder / LOCK, (silent_since, silent_since))
    store.sweep()
    assert not folder.exists()


def test_builds_of_deleted_collections_are_removed(store: BuildStore, origin: BuildOrigin) -> None:
    build = seal(store, origin, 5)
    store.remove_foreign(store.reached(), {1: 5})
    assert build.exists()
    store.remove_foreign(store.reached(), {2: 9})
    assert not build.parent.exists()


def test_build_that_an_older_database_never_reached_is_removed(
    store: BuildStore, origin: BuildOrigin
) -> None:
    old, new = seal(store, origin, 5), seal(store, origin, 12)
    store.remove_foreign(store.reached(), {1: 8})
    assert (old.exists(), new.exists()) == (True, False)
