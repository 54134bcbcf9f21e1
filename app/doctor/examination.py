"""The checks, in the order in which one stands on the other."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from app.doctor.database import RESTORE, check_integrity, check_revision
from app.doctor.documents import check_chunks, check_releases, check_texts, check_vectors, check_versions
from app.doctor.engines import check_engines
from app.doctor.findings import Finding, Level, ok, problem, warning
from app.doctor.folder import check_free_disk, check_log, check_permissions, check_temporary_files
from app.doctor.indexes import check_builds
from app.doctor.models import KnownModels, check_models
from app.doctor.postgres import check_connections, check_server, has_tables
from app.doctor.reading import Reader, expected_failures, open_reader
from app.settings import Settings
from app.snapshots.contents import named_encoders
from app.snapshots.manifest import JOBS_DATABASE

_Check = Callable[[], Finding | Iterable[Finding]]
_RESTORE_THERE = "see what the server's log tells; restore its latest backup if it is damaged"


def examine(settings: Settings, full: bool = False) -> Iterator[Finding]:
    """Check everything, and change nothing; each finding comes when its check is done.

    full: also read every page, index and text of the databases; takes minutes on a large one. Works beside a
    running service.
    """
    yield ok("settings", f"read; the data folder is {settings.home}")
    known = KnownModels()
    path = settings.database.path
    if path is not None and not path.is_file():
        yield warning("data folder", f"no database in {settings.home}", "footnote serve makes one")
        yield from check_models(settings, {}, known)
        return
    if settings.home.is_dir():
        yield from _run("permissions", partial(check_permissions, settings.home))
        yield from _run("disk", partial(check_free_disk, settings.home, path))
    else:
        yield warning("data folder", f"there is no folder {settings.home}", "footnote serve makes it")
    if path is not None:
        files = list(_examine_files(settings.home, path, full))
        yield from files
        if any(each.level == Level.PROBLEM and each.check.endswith(path.name) for each in files):
            return
    yield from _examine_database(settings, full, known)


def _examine_files(home: Path, database: Path, full: bool) -> Iterator[Finding]:
    yield from _run("write-ahead log", partial(check_log, database))
    for path in (database, home / JOBS_DATABASE):
        if path.is_file():
            yield check_integrity(path, full)


def _examine_database(settings: Settings, full: bool, known: KnownModels) -> Iterator[Finding]:
    try:
        with open_reader(settings.database, settings.busy_timeout_s) as reader:
            yield from _examine_rows(settings, reader, full, known)
    except expected_failures() as error:  # cannot be opened, or broke off; checks tell their own failures
        yield problem("database", f"cannot be read: {error}", _restored(settings))


def _examine_rows(settings: Settings, reader: Reader, full: bool, known: KnownModels) -> Iterator[Finding]:
    if not settings.database.is_sqlite and not has_tables(reader):
        yield warning(
            "database", f"no tables of Footnote in {settings.database}", "footnote serve makes them"
        )
        return
    revision = list(_run("schema", partial(check_revision, reader), settings))
    yield from revision
    if [each.level for each in revision] != [Level.OK]:
        return
    yield from _run("models", lambda: check_models(settings, named_encoders(reader), known), settings)
    server: dict[str, _Check] = {
        "database server": partial(check_server, reader),
        "connections": partial(check_connections, reader),
    }
    checks: dict[str, _Check] = {
        **({} if settings.database.is_sqlite else server),
        "releases": partial(check_releases, reader),
        "documents": partial(check_versions, reader),
        **({"texts": partial(check_texts, reader)} if full else {}),
        "chunks": partial(check_chunks, reader),
        "vectors": lambda: check_vectors(reader, known.dimensions, known.default),
        "builds": partial(check_builds, settings.home, reader),
        "index engines": partial(check_engines, settings, reader, known),
        "temporary files": lambda: check_temporary_files(settings.home, _jobs(reader)),
    }
    for name, check in checks.items():
        yield from _run(name, check, settings)


def _run(name: str, check: _Check, settings: Settings | None = None) -> Iterator[Finding]:
    """The findings of a check; one that cannot be carried out is a problem of its own."""
    try:
        found = check()
        yield from [found] if isinstance(found, Finding) else found
    except expected_failures() as error:
        yield problem(
            name, f"cannot be checked: {error}", RESTORE if settings is None else _restored(settings)
        )


def _restored(settings: Settings) -> str:
    return RESTORE if settings.database.is_sqlite else _RESTORE_THERE


def _jobs(reader: Reader) -> frozenset[str]:
    return frozenset(row[0] for row in reader.execute("SELECT id FROM jobs"))
