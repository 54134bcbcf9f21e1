"""What a build says about itself, and the proof that its files are the ones that were written."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import tantivy

from embeddings.artifact import ArtifactFile, describe_file
from embeddings.errors import BuildDamaged
from retrieval.sealed_vectors import IndexKind

MANIFEST = "manifest.json"
# Raised whenever the files, or the analysis of texts into terms, change: older builds are then made anew.
FORMAT = 1
TANTIVY = str(tantivy.__version__)  # type: ignore[attr-defined]  # with the version of its files


@dataclass(frozen=True, slots=True)
class BuildOrigin:
    """What a build is of. database_id: a collection's key means something in its own database only."""

    database_id: str
    collection_id: int
    chunking: str
    model_id: str


class BuildManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rows: of the vectors, dead ones included; chunks: those alive. created_at: UTC, ISO 8601.

    max_seq: the build holds all writes up to this sequence number and none after it.
    """

    format: int
    build_id: str
    database_id: str
    collection_id: int
    chunking: str
    model_id: str
    dimension: int
    max_seq: int
    rows: int
    chunks: int
    documents: int
    index_kind: IndexKind
    tantivy: str
    created_at: str
    files: dict[str, ArtifactFile]

    @property
    def origin(self) -> BuildOrigin:
        return BuildOrigin(self.database_id, self.collection_id, self.chunking, self.model_id)

    @property
    def size_bytes(self) -> int:
        return sum(record.size_bytes for record in self.files.values())


def describe_files(directory: Path) -> dict[str, ArtifactFile]:
    """Every file under a build's folder but the manifest, by its path in the folder."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(directory)): describe_file(path) for path in paths}


def write_manifest(path: Path, manifest: BuildManifest) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def read_manifest(directory: Path) -> BuildManifest:
    """The manifest of a build whose files are all there and of the right size.

    Raises BuildDamaged for anything else, and for a build of another version of Footnote or of tantivy.
    """
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=BuildManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise _damaged(directory, f"{MANIFEST}: {error}", "a readable manifest of this version") from error
    if (manifest.format, manifest.tantivy) != (FORMAT, TANTIVY):
        found = f"format {manifest.format}, {manifest.tantivy}"
        raise _damaged(directory, found, f"format {FORMAT}, {TANTIVY}")
    if manifest.build_id != directory.name:
        raise _damaged(directory, f"the build {manifest.build_id}", "the manifest of this folder")
    _check_sizes(directory, manifest)
    return manifest


def verify_files(directory: Path, manifest: BuildManifest, names: Iterable[str] | None = None) -> None:
    """Compare the checksums, of all files or of these. Raises BuildDamaged."""
    for name in manifest.files if names is None else names:
        try:
            found = describe_file(directory / name).sha256
        except OSError as error:
            raise _damaged(directory, f"{name}: {error}", "a readable file") from error
        if found != manifest.files[name].sha256:
            raise _damaged(directory, f"{name} with SHA-256 {found}", manifest.files[name].sha256)


def _check_sizes(directory: Path, manifest: BuildManifest) -> None:
    for name, record in manifest.files.items():
        path = directory / name
        size = path.stat().st_size if path.is_file() else None
        if size != record.size_bytes:
            found = f"no {name}" if size is None else f"{name} of {size} bytes"
            raise _damaged(directory, found, f"{record.size_bytes} bytes")


def _damaged(directory: Path, found: str, expected: str) -> BuildDamaged:
    return BuildDamaged(
        f"the build {directory.name} is not usable: found {found}; expected {expected}",
        found=found,
        expected=expected,
        next_step="nothing: an older build or SQL takes its place; `footnote doctor` checks the disk",
    )
