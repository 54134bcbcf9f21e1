"""Snapshots that `create_snapshot` would not write, sealed like any other."""

from io import BytesIO
from pathlib import Path

import msgspec

from app.snapshots.archive import ArchiveWriter, decode, open_archive
from app.snapshots.manifest import MANIFEST, FileRecord, SnapshotManifest


def read_manifest(path: Path) -> SnapshotManifest:
    with open_archive(path, lambda *_: None) as reader:
        return decode(path, reader.read(MANIFEST), SnapshotManifest)


def read_files(path: Path) -> dict[str, bytes]:
    with open_archive(path, lambda *_: None) as reader:
        return {name: reader.read(name) for name in reader.names}


def craft(path: Path, manifest: SnapshotManifest, files: dict[str, bytes], listed: bool = True) -> Path:
    """Write a snapshot. listed: let the manifest describe these files; else it stays as given."""
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, lambda _: None)
        records: dict[str, FileRecord] = {
            name: writer.add(name, BytesIO(content)) for name, content in files.items()
        }
        if listed:
            manifest = msgspec.structs.replace(manifest, files=records)
        writer.finish(msgspec.json.encode(manifest))
    return path
