"""Names that somebody may have meant who wrote another one."""

import sqlite3
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

from app.db.address import DatabaseAddress
from embeddings.errors import FootnoteError, NotFound

SHOWN_NAMES = 8
# Share of its letters that a name has in common with the one that was meant.
LIKENESS = 0.6
_NAMES = "SELECT name FROM collections WHERE deleted_at IS NULL ORDER BY name"


def suggest(error: FootnoteError) -> FootnoteError:
    """The error, with the collections that there are as its next step where it is about one that is not.

    On the command line alone: over HTTP it would tell a limited key the names of other collections.
    """
    if isinstance(error, NotFound) and error.field == "collection" and error.found is not None:
        names = _collection_names()
        if names is not None:
            error.next_step = _next_step(error.found, names)
    return error


def _next_step(wanted: str, names: list[str]) -> str:
    if not names:
        return f"there is no collection yet: footnote ingest PATH --collection {wanted} makes one"
    near = get_close_matches(wanted.lower(), names, n=1, cutoff=LIKENESS)
    if near:
        return f"did you mean {near[0]}? `footnote collections list` shows all"
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    return f"there are: {shown}"


def _collection_names() -> list[str] | None:
    """None where they cannot be read: a suggestion must not fail in place of what it is about."""
    from app.settings import load_settings

    try:
        database = load_settings().database
        return _read_names(database) if database.path is None else _read_from_file(database.path)
    except (FootnoteError, sqlite3.Error, OSError):
        return None


def _read_from_file(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return [name for (name,) in connection.execute(_NAMES)]


def _read_names(database: DatabaseAddress) -> list[str]:
    from app.db.engine import storage_errors
    from app.db.postgres import snapshot_connection

    with storage_errors(), snapshot_connection(database) as connection:
        return list(connection.exec_driver_sql(_NAMES).scalars())
