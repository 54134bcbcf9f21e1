"""`restore_snapshot`: a snapshot to a data folder that answers as the one did that it was made of."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.db.migrations import apply_migrations
from app.settings import CONFIG_FILENAME, setting_names
from app.snapshots.archive import Progress
from app.snapshots.contents import bundled_models
from app.snapshots.databases import connect, find_problems
from app.snapshots.disk import disk_errors, sync, sync_tree, workshop
from app.snapshots.manifest import DATABASE, SavedModel, SnapshotManifest
from app.snapshots.opening import open_snapshot
from embeddings.errors import Conflict, Unreadable

BUSY_TIMEOUT_S = 10  # nobody else knows of the database yet


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored. notes: what is not as it was where the snapshot was made."""

    manifest: SnapshotManifest
    home: Path
    notes: tuple[str, ...]


def restore_snapshot(
    path: Path, home: Path, progress: Progress = lambda _what, _done, _total: None
) -> Restored:
    """Make the data folder `home`, which must be absent or empty; an older database is brought up to date.

    progress: may raise to stop; then, as after any failure, `home` is as it was.
    Raises NotFound, Conflict for a folder that holds something and for a snapshot of a newer version,
    Unreadable for a damaged or foreign file, StorageFull.
    """
    home = home.resolve()
    _check_empty(home)
    with open_snapshot(path, progress) as opened, disk_errors(home.parent):
        home.parent.mkdir(parents=True, exist_ok=True)
        with workshop(home) as folder:
            made = folder / "home"
            made.mkdir(mode=0o700)
            for done, name in enumerate(sorted(opened.manifest.files)):
                progress("files restored", done, len(opened.manifest.files))
                opened.extract(name, made)
            notes = _adapt(opened.manifest, made)
            sync_tree(made)
            made.rename(home)
            sync(home.parent)
    return Restored(opened.manifest, home, notes)


def _check_empty(home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Conflict(
            f"{home} is not an empty folder",
            field="home",
            found="a folder with something in it" if home.is_dir() else "a file",
            expected="a folder that is empty or does not exist",
            next_step="restore into another folder, then set FOOTNOTE_HOME to it",
        )


def _adapt(manifest: SnapshotManifest, home: Path) -> tuple[str, ...]:
    """Examine the database, bring it up to date, and let it and the settings point to the models here."""
    database = home / DATABASE
    if problems := find_problems(database, full=True):
        raise Unreadable(
            f"the database in the snapshot is damaged: {problems[0]}",
            found=problems[0],
            expected="a database that passes SQLite's integrity check",
            next_step="restore from another snapshot",
        )
    apply_migrations(database, BUSY_TIMEOUT_S)
    _point_releases(database, manifest.models)
    moved = _leave_engines(database)
    _end_sessions(database)
    folders = {name: model.folder for model in manifest.models if model.folder for name in model.settings}
    _write_settings(home / CONFIG_FILENAME, manifest.settings | folders)
    return (*manifest.left_out, *_missing(manifest.models), *moved)


def _point_releases(database: Path, models: tuple[SavedModel, ...]) -> None:
    bundled = bundled_models()
    with connect(database, BUSY_TIMEOUT_S) as connection:
        for model in models:
            folder = model.folder or bundled.get(model.model_id)
            for before in model.encoders if folder is not None else ():
                statement = "UPDATE releases SET encoder = ? WHERE encoder = ?"
                connection.execute(statement, (str(folder), before))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _leave_engines(database: Path) -> list[str]:
    """Let FAISS keep every index: an engine may be out of reach here, and what it holds is the original's."""
    with connect(database, BUSY_TIMEOUT_S) as connection:
        kept = connection.execute(
            "SELECT c.name, r.engine FROM collections c JOIN releases r ON r.id = c.release_id"
            " WHERE r.engine IS NOT NULL ORDER BY c.name"
        ).fetchall()
        connection.execute("UPDATE releases SET engine = NULL")
        connection.execute("UPDATE identity SET index_id = ?", (uuid.uuid4().hex,))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [
        f"the index of {name} was kept by {engine}, and is made anew in files here: to move it there, set "
        f"FOOTNOTE_INDEX_URL, then footnote migrate-index {name} --to {engine}"
        for name, engine in kept
    ]


def _end_sessions(database: Path) -> None:
    """Sign every browser out: one that was signed out after the snapshot must not be in again."""
    with connect(database, BUSY_TIMEOUT_S) as connection:
        connection.execute("DELETE FROM page_sessions")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write_settings(path: Path, values: Mapping[str, str | int]) -> None:
    known = {name: values[name] for name in setting_names() if name in values}
    # A JSON text is a TOML text too, as long as nothing beyond ASCII is escaped.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in known.items()]
    if lines:
        path.write_text("".join(lines), encoding="utf-8")


def _missing(models: tuple[SavedModel, ...]) -> list[str]:
    bundled = bundled_models()
    return [
        f"the snapshot was made with the bundled model {model.model_id}, which this version does not have: "
        "documents are encoded anew, and answers may differ"
        for model in models
        if model.folder is None and model.model_id not in bundled
    ]
