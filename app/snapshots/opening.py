"""A snapshot file, opened and understood: its seal, its format, its revision and the names in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from app.db.migrations import MIGRATIONS
from app.snapshots.archive import ArchiveReader, Progress, decode, describe, foreign, open_archive
from app.snapshots.manifest import (
    DATABASE,
    FORMAT,
    MANIFEST,
    FileRecord,
    ManifestFormat,
    SnapshotManifest,
    is_safe,
)
from embeddings.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """A snapshot that this program may read: every file that it names is there, and none besides."""

    path: Path
    reader: ArchiveReader
    manifest: SnapshotManifest

    def extract(self, name: str, folder: Path) -> None:
        """Write a file under the folder. Raises Unreadable when it is not what the manifest says."""
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            self._compare(name, describe(self.reader, name, stream.write))

    def check(self, name: str) -> None:
        """Read a file. Raises Unreadable when it is not what the manifest says."""
        self._compare(name, describe(self.reader, name, len))

    def _compare(self, name: str, found: FileRecord) -> None:
        if found != self.manifest.files[name]:
            raise foreign(self.path, f"{name} of {found.size_bytes:,} bytes with SHA-256 {found.sha256}")


@contextmanager
def open_snapshot(path: Path, progress: Progress) -> Iterator[OpenSnapshot]:
    """Open a snapshot. progress: may raise to stop.

    Raises NotFound, Unreadable when it is damaged or foreign, Conflict when a newer version made it.
    """
    if not path.is_file():
        raise NotFound(
            f"there is no file {path}",
            found=str(path),
            expected="a file that `footnote snapshot create` made",
            next_step="check the name",
        )
    with open_archive(path, progress) as reader:
        yield OpenSnapshot(path, reader, _read_manifest(path, reader))


def newest_revision() -> str:
    """The revision that this program's database has."""
    head = _scripts().get_current_head()
    assert head is not None  # noqa: S101  # the project has migrations
    return head


def known_revisions() -> frozenset[str]:
    """Every revision that this program can read, or bring up to date."""
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _read_manifest(path: Path, reader: ArchiveReader) -> SnapshotManifest:
    encoded = reader.read(MANIFEST)
    if (found := decode(path, encoded, ManifestFormat).format) > FORMAT:
        raise _newer(path, f"format {found}", f"format {FORMAT} or older")
    manifest = decode(path, encoded, SnapshotManifest)
    if manifest.revision not in known_revisions():
        raise _newer(path, f"database revision {manifest.revision}", f"at most {newest_revision()}")
    if unsafe := [name for name in manifest.files if not is_safe(name)]:
        raise foreign(path, f"the file name {unsafe[0]!r}")
    places = [model.folder for model in manifest.models if model.folder is not None]
    if unsafe := [folder for folder in places if not is_safe(folder)]:
        raise foreign(path, f"the model folder {unsafe[0]!r}")
    if different := reader.names ^ manifest.files.keys() or {DATABASE} - reader.names:
        raise foreign(path, f"a manifest that does not fit: {min(different)!r}")
    return manifest


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _newer(path: Path, found: str, expected: str) -> Conflict:
    return Conflict(
        f"{path} was made by a newer version of Footnote: it has {found}",
        found=found,
        expected=expected,
        next_step="install the version that made it, or a later one",
    )
