"""Builds: what is sealed is found again, whatever stops the work half-way, and never once it is damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embeddings.errors import BuildDamaged, InvalidInput
from retrieval.builds.disk import Disk
from retrieval.builds.manifest import MANIFEST, BuildManifest, read_manifest, verify_files
from retrieval.builds.sealing import SealOptions
from retrieval.filters import parse_filter
from retrieval.index import MIN_RECENT_ROWS, CollectionIndex, SearchRequest
from retrieval.sealed_vectors import IndexKind
from retrieval.types import RankedList, SearchMode
from tests.retrieval.test_index import DIMENSION, ORIGIN, chunk, unit


def workspace(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def make_index(folder: Path, count: int = 40) -> CollectionIndex:
    index = CollectionIndex(DIMENSION, workspace(folder, "work"))
    chunks = [chunk(i, i // 2, "apple " * (1 + i % 3) + f"word{i}", parity=i // 2 % 2) for i in range(count)]
    index.apply(chunks, [], 7)
    return index


def make_build(folder: Path, count: int = 40, kind: IndexKind | None = None) -> Path:
    index = make_index(folder, count)
    return index.seal(folder / "scratch", workspace(folder, "builds"), ORIGIN, SealOptions(kind=kind))


def everything(index: CollectionIndex) -> list[RankedList]:
    only = parse_filter({"parity": 1})
    return [
        index.search(SearchRequest("apple word3", unit(900), mode, limit=100, filter=filter_))
        for mode in SearchMode
        for filter_ in (None, only)
    ]


@pytest.mark.parametrize("kind", list(IndexKind))
def test_build_answers_as_the_index_that_it_was_made_of(tmp_path: Path, kind: IndexKind) -> None:
    index = make_index(tmp_path, 300)
    build = index.seal(tmp_path / "scratch", workspace(tmp_path, "builds"), ORIGIN, SealOptions(kind=kind))

    opened = CollectionIndex.open(build, workspace(tmp_path, "other"))

    assert opened.seq == 7
    for one, other in zip(everything(index), everything(opened), strict=True):
        assert [hit.chunk_id for hit in one.chunks] == [hit.chunk_id for hit in other.chunks]
        assert [hit.score for hit in one.chunks] == pytest.approx(
            [hit.score for hit in other.chunks], abs=1e-5
        )


def test_manifest_tells_what_the_build_is_of(tmp_path: Path) -> None:
    manifest = read_manifest(make_build(tmp_path))
    assert (manifest.origin, manifest.max_seq) == (ORIGIN, 7)
    assert (manifest.rows, manifest.chunks, manifest.documents) == (40, 40, 20)


def test_growing_build_copies_the_graph_and_an_emptied_one_is_made_anew(tmp_path: Path) -> None:
    build, builds = make_build(tmp_path, kind=IndexKind.HNSW), tmp_path / "builds"
    opened = CollectionIndex.open(build, workspace(tmp_path, "a"))
    options = SealOptions(kind=IndexKind.HNSW)

    opened.apply([chunk(100, 100, "pear")], [0], 8)
    grown = read_manifest(opened.seal(tmp_path / "s1", builds, ORIGIN, options))
    opened.apply([], range(1, 18), 9)
    emptied = read_manifest(opened.seal(tmp_path / "s2", builds, ORIGIN, options))

    assert (grown.rows, grown.chunks) == (41, 39)
    assert (emptied.rows, emptied.chunks) == (5, 5)


def test_metadata_of_deleted_documents_is_not_written(tmp_path: Path) -> None:
    build = make_build(tmp_path)
    opened = CollectionIndex.open(build, workspace(tmp_path, "a"))
    opened.apply([chunk(100, 100, "pear", secret="gone"), chunk(101, 101, "fig", kept="here")], [0], 8)
    opened.apply([], [100], 9)

    after = opened.seal(tmp_path / "s", tmp_path / "builds", ORIGIN)

    stored = (after / "metadata.json.bin").read_bytes()
    assert b"here" in stored
    assert b"gone" not in stored


def test_index_changes_while_a_build_is_made_of_it(tmp_path: Path) -> None:
    index = make_index(tmp_path)

    def write_more(done: int, _total: int) -> None:
        index.apply([chunk(1_000 + done, 1_000 + done, "late")], [], index.seq + 1)

    build = index.seal(
        tmp_path / "s", workspace(tmp_path, "builds"), ORIGIN, SealOptions(progress=write_more)
    )

    opened = CollectionIndex.open(build, workspace(tmp_path, "other"))
    assert len(opened) == 40
    assert opened.seq == 7
    assert opened.search(SearchRequest("late", mode=SearchMode.LEXICAL)).chunks == ()
    assert len(index.search(SearchRequest("late", mode=SearchMode.LEXICAL)).chunks) == 2


class Killed(BaseException):
    """The end of the process: nothing after it is run, so nothing is tidied up."""


class FailingDisk(Disk):
    """Dies before or after its n-th step. steps: how many were asked for."""

    def __init__(self, dies_at: int | None, after: bool) -> None:
        self.steps, self._dies_at, self._after = 0, dies_at, after

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        self._step(lambda: super(FailingDisk, self).write(path, write))

    def sync(self, path: Path) -> None:
        self._step(lambda: super(FailingDisk, self).sync(path))

    def rename(self, source: Path, target: Path) -> None:
        self._step(lambda: super(FailingDisk, self).rename(source, target))

    def _step(self, action: Callable[[], None]) -> None:
        self.steps += 1
        if self.steps == self._dies_at and not self._after:
            raise Killed
        action()
        if self.steps == self._dies_at:
            raise Killed


def count_steps(folder: Path) -> int:
    disk = FailingDisk(None, after=False)
    make_index(folder).seal(folder / "scratch", workspace(folder, "builds"), ORIGIN, disk=disk)
    return disk.steps


def test_death_at_any_step_leaves_a_whole_build_or_none(tmp_path: Path) -> None:
    steps = count_steps(workspace(tmp_path, "counted"))
    assert steps > 30
    for after in (False, True):
        for step in range(1, steps + 1):
            folder = workspace(tmp_path, f"{step}-{after}")
            index = make_index(folder)
            with pytest.raises(Killed):
                index.seal(
                    folder / "scratch",
                    workspace(folder, "builds"),
                    ORIGIN,
                    disk=FailingDisk(step, after),
                )
            for build in (folder / "builds").iterdir():
                verify_files(build, read_manifest(build))
                assert len(CollectionIndex.open(build, workspace(folder, "w"))) == 40


def test_missing_manifest_is_told(tmp_path: Path) -> None:
    build = make_build(tmp_path)
    (build / MANIFEST).unlink()
    with pytest.raises(BuildDamaged, match=MANIFEST):
        read_manifest(build)


@pytest.mark.parametrize("field", ["format", "tantivy", "build_id"])
def test_manifest_of_another_version_or_folder_is_refused(tmp_path: Path, field: str) -> None:
    build = make_build(tmp_path)
    text = (build / MANIFEST).read_text()
    value = str(getattr(read_manifest(build), field))
    (build / MANIFEST).write_text(text.replace(value, "0" if field == "format" else "other", 1))
    with pytest.raises(BuildDamaged):
        read_manifest(build)


def check(build: Path) -> None:
    manifest: BuildManifest = read_manifest(build)
    verify_files(build, manifest)


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    build = make_build(tmp_path)
    files = [path for path in sorted(build.rglob("*")) if path.is_file() and path.stat().st_size]
    rng = np.random.default_rng(0)
    for n in range(100):
        path = files[n % len(files)]
        whole = path.read_bytes()
        path.write_bytes(whole[: int(rng.integers(0, len(whole)))])
        with pytest.raises(BuildDamaged):
            check(build)
        path.write_bytes(whole)
    check(build)


def test_every_flipped_byte_is_detected(tmp_path: Path) -> None:
    build = make_build(tmp_path)
    files = [path for path in sorted(build.rglob("*")) if path.is_file() and path.stat().st_size]
    payload = [path for path in files if path.name != MANIFEST]
    rng = np.random.default_rng(1)
    for n in range(1_000):
        path = payload[n % len(payload)]
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[int(rng.integers(0, len(whole)))] ^= int(rng.integers(1, 256))
        path.write_bytes(flipped)
        with pytest.raises(BuildDamaged):
            check(build)
        path.write_bytes(whole)
    check(build)


def test_index_asks_for_a_build_when_much_is_new_or_dead(tmp_path: Path) -> None:
    index = make_index(tmp_path, MIN_RECENT_ROWS)
    assert not index.needs_build
    index.apply([chunk(50_000, 50_000)], [], 8)
    assert index.needs_build

    build = index.seal(tmp_path / "scratch", workspace(tmp_path, "builds"), ORIGIN)
    opened = CollectionIndex.open(build, workspace(tmp_path, "other"))
    assert not opened.needs_build
    opened.apply([], range(MIN_RECENT_ROWS // 8), 9)
    assert opened.needs_build


def test_index_in_memory_cannot_be_sealed(tmp_path: Path) -> None:
    index = CollectionIndex(DIMENSION)
    assert not index.sealable
    with pytest.raises(InvalidInput, match="memory"):
        index.seal(tmp_path / "scratch", tmp_path, ORIGIN)
