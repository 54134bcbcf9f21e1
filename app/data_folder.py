"""The data folder and the database in it, made where they are not there yet."""

import os
from pathlib import Path

from anyio import to_thread

from app.db.migrations import apply_migrations
from app.settings import Settings
from embeddings.errors import InvalidInput


async def prepare_database(settings: Settings) -> None:
    """Make the data folder, for this user only, and bring its database up to date.

    Raises InvalidInput or StorageFull for a folder that cannot be used, Conflict for a newer database.
    """
    await to_thread.run_sync(_make_home, settings.home)
    await to_thread.run_sync(apply_migrations, settings.database, settings.busy_timeout_s)


def _make_home(home: Path) -> None:
    """Make the data folder, for this user only: it holds every document. Raises InvalidInput, StorageFull."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(home, error.strerror or str(error)) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise _unusable(home, "this user may not write to it")


def _unusable(home: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        f"cannot use the data folder {home}: {reason}",
        field="FOOTNOTE_HOME",
        found=reason,
        expected="a folder that this user may write",
        next_step="correct its permissions, or set FOOTNOTE_HOME to another folder",
    )
