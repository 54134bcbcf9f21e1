"""Builds: caches, so nothing that is wrong with them loses anything."""

from collections.abc import Iterator
from pathlib import Path

from app.builds import LIVE
from app.doctor.findings import Finding, ok, some_of, warning
from app.doctor.reading import Reader
from app.snapshots.manifest import INDEXES
from embeddings.errors import BuildDamaged
from retrieval.builds.manifest import read_manifest, verify_files

NOT_NEEDED = "nothing: it goes at the next start, and another build or SQL takes its place"


def check_builds(home: Path, connection: Reader) -> Iterator[Finding]:
    """Every checksum of every build, and folders that belong to no collection."""
    root = home / INDEXES
    last_seqs = dict(connection.execute("SELECT id, last_seq FROM collections").fetchall())
    ((database_id,),) = connection.execute("SELECT database_id FROM identity")
    folders = sorted(path for path in root.glob("*") if path.name != LIVE)
    orphans = [path for path in folders if path.name not in map(str, last_seqs)]
    if orphans:
        yield warning(
            "builds",
            f"no collection owns {some_of(orphans)}",
            "nothing for numbered folders, which go at the next start; remove others by hand",
        )
    builds = [build for path in folders if path not in orphans for build in sorted(path.iterdir())]
    faults = [(build, fault) for build in builds if (fault := _fault(build, str(database_id), last_seqs))]
    yield from (warning("builds", fault, NOT_NEEDED) for _, fault in faults)
    yield ok("builds", f"{len(builds) - len(faults):,} fit the database, every file fits its checksum")


def _fault(build: Path, database_id: str, last_seqs: dict[int, int]) -> str | None:
    try:
        manifest = read_manifest(build)
        verify_files(build, manifest)
    except BuildDamaged as error:
        return error.message if build.exists() else None  # a newer one took its place just now
    if manifest.database_id != database_id:
        return f"the build {build} is of another database"
    if manifest.max_seq > last_seqs[manifest.collection_id]:
        return f"the build {build} is ahead of the database, which is older"
    return None
