"""`create_snapshot`: one file of all that a data folder holds, made while others read and write."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from app.db.engine import storage_errors
from app.db.migrations import apply_migrations
from app.settings import Settings
from app.snapshots.archive import ArchiveWriter, Progress
from app.snapshots.contents import (
    DatabaseFacts,
    FileGroup,
    ModelPlan,
    choose_builds,
    choose_uploads,
    own_settings,
    plan_models,
    read_facts,
)
from app.snapshots.databases import connect, copy_database, find_problems
from app.snapshots.disk import disk_errors, sync, workshop
from app.snapshots.manifest import (
    DATABASE,
    FORMAT,
    INDEXES,
    JOBS_DATABASE,
    FileRecord,
    SnapshotManifest,
)
from app.version import installed_version
from embeddings.errors import Conflict, NotFound, Unreadable


def create_snapshot(
    settings: Settings, target: Path, progress: Progress = lambda _what, _done, _total: None
) -> SnapshotManifest:
    """Write a snapshot of the data folder to the file `target`. All that was acknowledged before is in it.

    progress: called often, and may raise to stop the work; then, as after any failure, nothing is left.
    Needs as much free space beside `target` as the database has, once more than the file itself.
    Raises NotFound when there is no database, Conflict when `target` exists or is being made, StorageFull,
    Unreadable for a damaged database, ModelDamaged.
    """
    target = target.absolute()
    database = _file_of(settings)
    _check_target(target)
    apply_migrations(settings.database, settings.busy_timeout_s)
    with storage_errors(), workshop(target) as folder, disk_errors(target.parent):
        copies = _copy_databases(settings, database, folder, progress)
        with connect(copies[DATABASE], 1) as connection:
            facts = read_facts(connection)
        manifest = _write(settings, copies, facts, folder / "snapshot", progress)
        (folder / "snapshot").rename(target)
        sync(target.parent)
        return manifest


def _file_of(settings: Settings) -> Path:
    """The SQLite file. Raises Conflict where the metadata is in PostgreSQL, NotFound where there is none."""
    path = settings.database.path
    if path is None:
        raise Conflict(
            "a snapshot holds SQLite databases, and the metadata of this service is in PostgreSQL",
            field="FOOTNOTE_DATABASE_URL",
            found=settings.database.shown,
            expected="a data folder with its own database",
            next_step="pg_dump --format=custom of the database, and a copy of the data folder made after it; "
            "the guide's page on scale tells how to restore both",
        )
    if not path.is_file():
        raise NotFound(
            f"there is no database in {settings.home}",
            found="no footnote.db",
            expected="a data folder that Footnote has worked in",
            next_step="set FOOTNOTE_HOME to the data folder",
        )
    return path


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise NotFound(
            f"there is no folder {target.parent}",
            found=str(target.parent),
            expected="an existing folder",
            next_step=f"mkdir -p {target.parent}",
        )
    if target.exists():
        raise Conflict(
            f"{target} exists already",
            found=str(target),
            expected="the name of a new file",
            next_step="choose another name, or remove the file first",
        )


def _copy_databases(settings: Settings, database: Path, folder: Path, progress: Progress) -> dict[str, Path]:
    """Copies that passed their examination, by their names in the snapshot.

    The jobs' own database comes first: what it then tells as done is in the main one, never the reverse.
    """
    sources = {JOBS_DATABASE: settings.home / JOBS_DATABASE, DATABASE: database}
    copies = {}
    for name, source in sources.items():
        if source.is_file():
            copies[name] = folder / name

            def copied(done: int, total: int, name: str = name) -> None:
                progress(f"pages of {name}", done, total)

            copy_database(source, copies[name], settings.busy_timeout_s, copied)
            _examine(copies[name], source, progress)
    return copies


def _examine(copy: Path, source: Path, progress: Progress) -> None:
    checked = f"checks of {copy.name}"
    progress(checked, 0, 1)
    problems = find_problems(copy, full=True, still_wanted=lambda: progress(checked, 0, 1))
    if problems:
        raise Unreadable(
            f"the database {source} is damaged: {problems[0]}",
            found=problems[0],
            expected="a database that passes SQLite's integrity check",
            next_step="keep a copy of the data folder, then restore the latest snapshot that verifies",
        )
    progress(checked, 1, 1)


def _write(
    settings: Settings, copies: dict[str, Path], facts: DatabaseFacts, path: Path, progress: Progress
) -> SnapshotManifest:
    models = plan_models(settings, facts)
    databases = [FileGroup({name: copy}, optional=False) for name, copy in copies.items()]
    rest = (*choose_uploads(settings.home, facts), *choose_builds(settings.home, facts))
    groups = [*databases, *models.groups, *rest]
    count = _Count(progress, sum(place.stat().st_size for place in _present(groups)))
    path.touch(mode=0o600)  # for this user only: it holds every document
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, count)
        files = {name: record for group in groups for name, record in _add(writer, group)}
        manifest = _manifest(settings, facts, models, files)
        writer.finish(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        stream.flush()
        os.fsync(stream.fileno())
    return manifest


def _add(writer: ArchiveWriter, group: FileGroup) -> Iterator[tuple[str, FileRecord]]:
    """Open all files first: what is open stays readable when its folder is removed."""
    with ExitStack() as stack:
        opened: dict[str, BinaryIO] = {}
        try:
            for name, place in group.files.items():
                opened[name] = stack.enter_context(place.open("rb"))
        except FileNotFoundError:
            if group.optional:
                return
            raise
        for name, source in opened.items():
            yield name, writer.add(name, source)


class _Count:
    """Adds up the bytes that were copied, for those who watch."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def __call__(self, size_bytes: int) -> None:
        self._done += size_bytes
        self._progress("bytes written", self._done, max(self._total, self._done))


def _present(groups: Iterable[FileGroup]) -> Iterator[Path]:
    return (place for group in groups for place in group.files.values() if place.is_file())


def _manifest(
    settings: Settings, facts: DatabaseFacts, models: ModelPlan, files: dict[str, FileRecord]
) -> SnapshotManifest:
    builds = {"/".join(name.split("/")[1:3]) for name in files if name.startswith(f"{INDEXES}/")}
    return SnapshotManifest(
        format=FORMAT,
        footnote=installed_version(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        revision=facts.revision,
        database_id=facts.database_id,
        collections=facts.collections,
        documents=sum(each.documents for each in facts.collections),
        chunks=sum(each.chunks for each in facts.collections),
        keys=facts.keys,
        jobs=facts.jobs,
        builds=tuple(sorted(builds)),
        models=models.models,
        settings=own_settings(settings.home),
        files=files,
        left_out=models.left_out,
    )
