"""The checks, in the order in which one stands on the other."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from app.doctor.database import RESTORE, check_integrity, check_revision
from app.doctor.documents import check_chunks, check_releases, check_texts, check_vectors, check_versions
from app.doctor.findings import Finding, Level, ok, problem, warning
from app.doctor.folder import check_free_disk, check_log, check_permissions, check_temporary_files
from app.doctor.indexes import check_builds
from app.doctor.models import KnownModels, check_models
from app.settings import Settings
from app.snapshots.contents import named_encoders
from app.snapshots.databases import connect
from app.snapshots.manifest import JOBS_DATABASE

_Check = Callable[[], Finding | Iterable[Finding]]


def examine(settings: Settings, full: bool = False) -> Iterator[Finding]:
    """Check everything, and change nothing; each finding comes when its check is done.

    full: also read every page, index and text of the databases; takes minutes on a large one. Works beside a
    running service.
    """
    yield ok("settings", f"read; the data folder is {settings.home}")
    known = KnownModels()
    if not settings.database.is_file():
        yield warning("data folder", f"no database in {settings.home}", "footnote serve makes one")
        yield from check_models(settings, {}, known)
        return
    yield from _run("permissions", partial(check_permissions, settings.home))
    yield from _run("disk", partial(check_free_disk, settings.home, settings.database))
    yield from _run("write-ahead log", partial(check_log, settings.database))
    jobs = settings.home / JOBS_DATABASE
    integrity = [check_integrity(path, full) for path in (settings.database, jobs) if path.is_file()]
    yield from integrity
    if integrity[0].level != Level.PROBLEM:
        yield from _examine_database(settings, full, known)


def _examine_database(settings: Settings, full: bool, known: KnownModels) -> Iterator[Finding]:
    with connect(settings.database, settings.busy_timeout_s) as connection:
        revision = list(_run("schema", partial(check_revision, connection)))
        yield from revision
        if [each.level for each in revision] != [Level.OK]:
            return
        connection.execute("BEGIN")  # all checks see one instant, whatever is written meanwhile
        yield from _run("models", lambda: check_models(settings, named_encoders(connection), known))
        checks: dict[str, _Check] = {
            "releases": partial(check_releases, connection),
            "documents": partial(check_versions, connection),
            **({"texts": partial(check_texts, connection)} if full else {}),
            "chunks": partial(check_chunks, connection),
            "vectors": lambda: check_vectors(connection, known.dimensions, known.default),
            "builds": partial(check_builds, settings.home, connection),
            "temporary files": lambda: check_temporary_files(settings.home, _jobs(connection)),
        }
        for name, check in checks.items():
            yield from _run(name, check)


def _run(name: str, check: _Check) -> Iterator[Finding]:
    """The findings of a check; one that cannot be carried out is a problem of its own."""
    try:
        found = check()
        yield from [found] if isinstance(found, Finding) else found
    except (sqlite3.DatabaseError, OSError, UnicodeDecodeError) as error:
        yield problem(name, f"cannot be checked: {error}", RESTORE)


def _jobs(connection: sqlite3.Connection) -> frozenset[str]:
    return frozenset(row[0] for row in connection.execute("SELECT id FROM jobs"))
