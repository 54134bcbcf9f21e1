"""What belongs into a snapshot: read from the copies of the databases and from the data folder."""

import re
import sqlite3
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from app.services.release_types import ReleaseState
from app.settings import CONFIG_FILENAME, Settings
from app.snapshots.manifest import INDEXES, MODELS, SavedCollection, SavedModel
from embeddings.artifact import MANIFEST, ModelManifest, load_manifest
from embeddings.errors import BuildDamaged, ModelDamaged
from retrieval.builds.manifest import MANIFEST as BUILD_MANIFEST
from retrieval.builds.manifest import BuildManifest, read_manifest, verify_files
from training.siamese.folder import CHECKPOINT

# Beside the files that a model's manifest names: on what terms it may be passed on.
_TERMS = ("README.md", "LICENSE", "NOTICE")
# A copy must not work on the original's, and their URLs may hold passwords.
_SERVERS = frozenset({"database_url", "index_url"})
_UNSAFE = re.compile(r"[^A-Za-z0-9._@-]")


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the copy of the database says. encoders: folders that releases name, to whether one serves."""

    revision: str
    database_id: str
    collections: tuple[SavedCollection, ...]
    last_seqs: dict[int, int]
    encoders: dict[str, bool]
    uploads: tuple[str, ...]
    keys: int
    jobs: int


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files that are only of use together: name in the snapshot to place on the disk.

    optional: left out when one of them goes away meanwhile.
    """

    files: dict[str, Path]
    optional: bool


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The models in use, the files of those that are not part of the program, and what is not there."""

    models: tuple[SavedModel, ...]
    groups: tuple[FileGroup, ...]
    left_out: tuple[str, ...]


def read_facts(connection: sqlite3.Connection) -> DatabaseFacts:
    """Read a copy of the newest revision."""
    collections = connection.execute(
        "SELECT c.id, c.name, c.last_seq, count(d.id), coalesce(sum(d.chunk_count), 0) FROM collections c"
        " LEFT JOIN documents d ON d.collection_id = c.id GROUP BY c.id ORDER BY c.name"
    ).fetchall()
    return DatabaseFacts(
        revision=_one(connection, "SELECT version_num FROM alembic_version"),
        database_id=_one(connection, "SELECT database_id FROM identity"),
        collections=tuple(SavedCollection(*row[1:]) for row in collections),
        last_seqs={row[0]: row[2] for row in collections},
        encoders=named_encoders(connection),
        uploads=tuple(row[0] for row in connection.execute("SELECT path FROM job_items ORDER BY path")),
        keys=_one(connection, "SELECT count(*) FROM api_keys"),
        jobs=_one(connection, "SELECT count(*) FROM jobs"),
    )


def named_encoders(connection: Any) -> dict[str, bool]:
    """Folders that releases name, to whether one of these releases is in service."""
    encoders: dict[str, bool] = {}
    for folder, state in connection.execute("SELECT encoder, state FROM releases WHERE encoder IS NOT NULL"):
        encoders[folder] = encoders.get(folder, False) or state == ReleaseState.SERVING
    return encoders


def choose_builds(home: Path, facts: DatabaseFacts) -> list[FileGroup]:
    """The newest good build of each index that holds nothing which the copy of the database has not."""
    chosen: dict[object, FileGroup] = {}
    for collection_id, last_seq in facts.last_seqs.items():
        folder = home / INDEXES / str(collection_id)
        for directory in sorted(folder.glob("*"), reverse=True):
            manifest = _good_build(directory)
            if manifest is None or manifest.origin in chosen:
                continue
            if manifest.database_id == facts.database_id and manifest.max_seq <= last_seq:
                names = (BUILD_MANIFEST, *manifest.files)
                files = {f"{INDEXES}/{collection_id}/{directory.name}/{n}": directory / n for n in names}
                chosen[manifest.origin] = FileGroup(files, optional=True)
    return list(chosen.values())


def choose_uploads(home: Path, facts: DatabaseFacts) -> list[FileGroup]:
    """Files that jobs still name and that are still there: those of a job that has ended are not."""
    return [
        FileGroup({path: home / path}, optional=True) for path in facts.uploads if (home / path).is_file()
    ]


def plan_models(settings: Settings, facts: DatabaseFacts) -> ModelPlan:
    """Every model that the settings or a release name. Raises ModelDamaged for one that is in service."""
    models, groups, left_out = [], [], []
    for folder, (by_setting, by_release) in model_users(settings, facts.encoders).items():
        try:
            manifest = load_manifest(folder)
        except ModelDamaged as error:
            if by_setting or any(facts.encoders[name] for name in by_release):
                raise
            left_out.append(f"the model of a release that is not in service: {error.message}")
            continue
        stored = None if folder in _bundled().values() else f"{MODELS}/{folder_name(manifest.model_id)}"
        models.append(SavedModel(manifest.model_id, stored, tuple(by_setting), tuple(by_release)))
        if stored is not None:
            groups.append(FileGroup(dict(_model_files(stored, folder, manifest)), optional=False))
    return ModelPlan(tuple(models), tuple(groups), tuple(left_out))


def model_users(settings: Settings, encoders: Iterable[str]) -> dict[Path, tuple[list[str], list[str]]]:
    """Each model's folder, with the settings and the folders of releases that name it.

    A program without a bundled decoder has none to name.
    """
    named: dict[Path, tuple[list[str], list[str]]] = {}
    for setting in model_settings():
        folder: Path | None = getattr(settings, setting)
        if folder is not None and (
            (folder / MANIFEST).is_file() or folder.resolve() not in _bundled().values()
        ):
            named.setdefault(folder.resolve(), ([], []))[0].append(setting)
    for name in encoders:
        named.setdefault((settings.home / name).resolve(), ([], []))[1].append(name)
    return named


def folder_name(model_id: str) -> str:
    """A model's id as the name of a folder."""
    return _UNSAFE.sub("-", model_id)


def bundled_models() -> dict[str, Path]:
    """The models that are part of this program: id to folder."""
    folders = (folder for folder in _bundled().values() if (folder / MANIFEST).is_file())
    return {load_manifest(folder).model_id: folder for folder in folders}


def own_settings(home: Path) -> dict[str, str | int]:
    """What footnote.toml in the data folder sets, without what is another elsewhere: folders, databases."""
    path = home / CONFIG_FILENAME
    if not path.is_file():
        return {}
    folders = {item.name for item in fields(Settings) if item.name == "home" or _is_folder(item.name)}
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key not in folders | _SERVERS}


def model_settings() -> Iterable[str]:
    """Names of the settings that name a model's folder."""
    return (item.name for item in fields(Settings) if _is_folder(item.name))


def _is_folder(name: str) -> bool:
    """Every setting that is a folder names a model, but for the data folder itself."""
    annotation = str(Settings.__annotations__[name])
    return name != "home" and "Path" in annotation


def _bundled() -> dict[str, Path]:
    """The folders of the models that are part of the program, by setting."""
    folders = {name: getattr(Settings(), name) for name in model_settings()}
    return {name: folder.resolve() for name, folder in folders.items() if folder is not None}


def _model_files(stored: str, folder: Path, manifest: ModelManifest) -> Iterator[tuple[str, Path]]:
    terms = (name for name in _TERMS if (folder / name).is_file() and name not in manifest.files)
    for name in (MANIFEST, *manifest.files, *terms):
        yield f"{stored}/{name}", folder / name
    # Without the weights in full precision the restored encoder could not be trained any further.
    for path in sorted((folder / CHECKPOINT).rglob("*")):
        if path.is_file():
            yield f"{stored}/{path.relative_to(folder).as_posix()}", path


def _good_build(directory: Path) -> BuildManifest | None:
    try:
        manifest = read_manifest(directory)
        verify_files(directory, manifest)
    except BuildDamaged:
        return None
    return manifest


def _one(connection: sqlite3.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]
