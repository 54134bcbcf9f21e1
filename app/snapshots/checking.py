"""`verify_snapshot`: whether a file would restore, without restoring it."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from app.snapshots.archive import Progress, decode
from app.snapshots.databases import find_problems
from app.snapshots.disk import disk_errors
from app.snapshots.manifest import DATABASE, INDEXES, JOBS_DATABASE, FileRecord, SnapshotManifest
from app.snapshots.opening import OpenSnapshot, open_snapshot
from embeddings.artifact import MANIFEST as MODEL_MANIFEST
from embeddings.artifact import ModelManifest
from retrieval.builds.manifest import MANIFEST as BUILD_MANIFEST


class _FileList(msgspec.Struct, frozen=True):
    """What every version of a build's manifest has: an older build is no damage, it is made anew."""

    files: dict[str, FileRecord]


@dataclass(frozen=True, slots=True)
class Verification:
    """What a snapshot holds, and what is wrong with it: nothing when `problems` is empty."""

    manifest: SnapshotManifest
    problems: tuple[str, ...]


def verify_snapshot(path: Path, progress: Progress = lambda _what, _done, _total: None) -> Verification:
    """Compare every checksum, and examine the databases, models and builds in the snapshot.

    The databases are copied to the folder for temporary files (TMPDIR) meanwhile. progress: may raise to
    stop.
    Raises NotFound, Unreadable when bytes are not as they were written, Conflict when a newer version made
    it, StorageFull.
    """
    with open_snapshot(path, progress) as opened:
        problems = [*_databases(opened, progress), *_models(opened), *_builds(opened)]
        return Verification(opened.manifest, tuple(problems))


def _databases(opened: OpenSnapshot, progress: Progress) -> Iterator[str]:
    with disk_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as temporary:
        folder, names = Path(temporary), sorted(opened.manifest.files)
        for done, name in enumerate(names):
            progress("files compared", done, len(names))
            if name in (DATABASE, JOBS_DATABASE):
                opened.extract(name, folder)
                watch = partial(progress, "files compared", done, len(names))
                yield from (f"{name}: {each}" for each in find_problems(folder / name, True, watch))
            else:
                opened.check(name)


def _models(opened: OpenSnapshot) -> Iterator[str]:
    for saved in opened.manifest.models:
        if saved.folder is not None:
            encoded = opened.reader.read(f"{saved.folder}/{MODEL_MANIFEST}")
            manifest = decode(opened.path, encoded, ModelManifest)
            yield from _differences(opened, saved.folder, manifest.files)
            if manifest.model_id != saved.model_id:
                yield f"{saved.folder} holds {manifest.model_id}, not {saved.model_id}"


def _builds(opened: OpenSnapshot) -> Iterator[str]:
    for build in opened.manifest.builds:
        folder = f"{INDEXES}/{build}"
        manifest = decode(opened.path, opened.reader.read(f"{folder}/{BUILD_MANIFEST}"), _FileList)
        yield from _differences(opened, folder, manifest.files)


def _differences(opened: OpenSnapshot, folder: str, expected: Mapping[str, Any]) -> Iterator[str]:
    """Files whose size or checksum are not those that the manifest of their folder tells."""
    for name, record in expected.items():
        found = opened.manifest.files.get(f"{folder}/{name}")
        if found is None or (found.size_bytes, found.sha256) != (record.size_bytes, record.sha256):
            yield f"{folder}/{name} is not the file that the manifest beside it names"
