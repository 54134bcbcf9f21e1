"""What SQLite says of its files, and whether their schema is the one of this program."""

from pathlib import Path

from app.doctor.findings import Finding, ok, problem, warning
from app.doctor.reading import Reader
from app.snapshots.databases import find_problems
from app.snapshots.opening import known_revisions, newest_revision

RESTORE = "keep a copy of the data folder, then `footnote snapshot restore` the latest snapshot that verifies"


def check_integrity(path: Path, full: bool) -> Finding:
    """SQLite's own examination of a file."""
    check = f"integrity of {path.name}"
    if problems := find_problems(path, full):
        return problem(check, "; ".join(problems), RESTORE)
    how = "integrity_check and foreign keys" if full else "quick_check; --full checks more"
    return ok(check, f"{path.stat().st_size / 1e6:,.1f} MB pass SQLite's {how}")


def check_revision(connection: Reader) -> Finding:
    """Whether this program knows the schema."""
    (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found == newest_revision():
        return ok("schema", f"revision {found}")
    if found in known_revisions():
        return warning(
            "schema",
            f"revision {found}, older than {newest_revision()}",
            "footnote collections list, or any other command, brings it up to date",
        )
    return problem(
        "schema",
        f"revision {found}, which this version of Footnote does not know",
        "install the version that made it, or a later one",
    )
