"""What a snapshot says about itself."""

from pathlib import PurePosixPath
from typing import Annotated

import msgspec

MANIFEST = "manifest.json"
# Raised when an older program could not restore what is written; older formats stay readable.
FORMAT = 1
DATABASE = "footnote.db"
JOBS_DATABASE = "jobs.db"
UPLOADS = "uploads"
INDEXES = "indexes"
MODELS = "models"
PLACES = frozenset({DATABASE, JOBS_DATABASE, UPLOADS, INDEXES, MODELS})


class FileRecord(msgspec.Struct, frozen=True):
    """What a file of the snapshot has to be."""

    size_bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class SavedCollection(msgspec.Struct, frozen=True):
    """A collection at the instant of the snapshot. last_seq: number of its latest write."""

    name: str
    last_seq: int
    documents: int
    chunks: int


class SavedModel(msgspec.Struct, frozen=True):
    """A model that the data folder works with.

    folder: in the snapshot; None: part of the program. settings: names of the settings that name the model.
    encoders: the folders by which releases name it.
    """

    model_id: str
    folder: str | None
    settings: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """revision: of the database's schema. created_at: UTC, ISO 8601.

    settings: those of the file footnote.toml in the data folder that are no folders. files: by name, all but
    this one. left_out: what the data folder had and the snapshot has not, with the reason.
    """

    format: int
    footnote: str
    created_at: str
    revision: str
    database_id: str
    collections: tuple[SavedCollection, ...]
    documents: int
    chunks: int
    keys: int
    jobs: int
    builds: tuple[str, ...]
    models: tuple[SavedModel, ...]
    settings: dict[str, str | int]
    files: dict[str, FileRecord]
    left_out: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(record.size_bytes for record in self.files.values())


class ManifestFormat(msgspec.Struct, frozen=True):
    """The one field that every format has."""

    format: int


def is_safe(name: str) -> bool:
    """Whether a file of this name stays in the folder that it is restored into, where files are expected."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") and part.isprintable() and "\\" not in part for part in parts)
    return plain and PurePosixPath(name).parts[0] in PLACES
