"""Whether texts, chunks and vectors fit each other."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from app.doctor.database import RESTORE
from app.doctor.findings import Finding, ok, problem, some_of, warning
from app.doctor.reading import Reader
from app.services.release_types import KEPT_STATES

ROWS_AT_ONCE = 4096
# Rounding to float16 moves the length of a unit vector by less than 0.001.
LENGTH_TOLERANCE = 0.005
AGAIN = "delete these documents and ingest them again, or restore the latest snapshot that verifies"
COMPLETED = "nothing: they are made when the collection is next searched"

_CURRENT = "document_versions v ON v.document_id = d.id AND v.version = d.version"
# Documents without chunks of the release in service.
_UNCUT = (
    "FROM documents d JOIN " + _CURRENT + " JOIN collections l ON l.id = d.collection_id"  # noqa: S608
    " JOIN releases r ON r.id = l.release_id WHERE v.length > 0 AND NOT EXISTS"
    " (SELECT 1 FROM chunks c WHERE c.document_id = d.id AND c.chunking = r.chunking)"
)


@dataclass(slots=True)
class _VectorFaults:
    """Chunk ids by what is wrong with their vectors; checked: how many vectors there are."""

    checked: int = 0
    wrong_size: list[int] = field(default_factory=list)
    wrong_length: list[int] = field(default_factory=list)


def check_versions(connection: Reader) -> Finding:
    """Whether each document has the text of its current version."""
    lost = _names(connection, f"FROM documents d LEFT JOIN {_CURRENT} WHERE v.id IS NULL")
    if lost:
        return problem("documents", f"{len(lost):,} have no current version: {some_of(lost)}", AGAIN)
    ((documents,),) = connection.execute("SELECT count(*) FROM documents")
    return ok("documents", f"{documents:,} have the text of their current version")


def check_texts(connection: Reader) -> Finding:
    """Whether every version's text is the one that was hashed. Reads all texts."""
    changed, rows = [], 0
    for version_id, text, length, sha256 in connection.execute(
        "SELECT id, text, length, content_hash FROM document_versions"
    ):
        rows += 1
        if len(text) != length or hashlib.sha256(text.encode()).hexdigest() != sha256:
            changed.append(version_id)
    if changed:
        ids = ", ".join(map(str, changed))
        names = _names(
            connection,
            f"FROM documents d JOIN document_versions v ON v.document_id = d.id WHERE v.id IN ({ids})",
        )
        return problem(
            "texts", f"{len(changed):,} are not the ones that were stored: {some_of(names)}", AGAIN
        )
    return ok("texts", f"{rows:,} fit their checksums")


def check_chunks(connection: Reader) -> Iterator[Finding]:
    """Whether chunks lie within their text, and every document has those of the release in service."""
    outside = _names(
        connection,
        f"FROM chunks c JOIN documents d ON d.id = c.document_id JOIN {_CURRENT}"
        " WHERE c.start < 0 OR c.start >= c.end OR c.end > v.length",
    )
    if outside:
        yield problem(
            "chunks", f"outside of their text in {len(outside):,} documents: {some_of(outside)}", AGAIN
        )
    else:
        ((chunks,),) = connection.execute("SELECT count(*) FROM chunks")
        yield ok("chunks", f"{chunks:,} lie within their texts")
    uncut = _names(connection, _UNCUT)
    if uncut:
        message = f"none of the release in service in {len(uncut):,} documents: {some_of(uncut)}"
        yield warning("chunks", message, COMPLETED)


def check_vectors(
    connection: Reader, dimensions: Mapping[str, int], default: str | None
) -> Iterator[Finding]:
    """Whether every vector is a unit vector of its model's size, and every chunk in service has one.

    dimensions: of the models that are there. default: the model of releases that name none.
    """
    faults = _find_faults(connection, dimensions)
    for chunks, fault in (
        (faults.wrong_size, "of another size than the model's"),
        (faults.wrong_length, "not of length 1"),
    ):
        if chunks:
            names = _documents_of(connection, chunks)
            yield problem("vectors", f"{len(chunks):,} are {fault}, in the documents {some_of(names)}", AGAIN)
    if not faults.wrong_size and not faults.wrong_length:
        yield ok("vectors", f"{faults.checked:,} are finite, of length 1 and of their model's size")
    ((missing,),) = connection.execute(
        "SELECT count(*) FROM chunks c JOIN documents d ON d.id = c.document_id"
        " JOIN collections l ON l.id = d.collection_id JOIN releases r ON r.id = l.release_id"
        " WHERE c.chunking = r.chunking AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.chunk_id = c.id"
        " AND v.model_id = CASE WHEN r.encoder IS NULL THEN ? ELSE r.model_id END)",
        (default,),
    )
    if missing and default is not None:
        yield warning("vectors", f"{missing:,} chunks have none of the model in service", COMPLETED)


def check_releases(connection: Reader) -> Finding:
    """Whether every collection serves one release of its own."""
    lost = [
        row[0]
        for row in connection.execute(
            "SELECT l.name FROM collections l LEFT JOIN releases r ON r.id = l.release_id"
            " AND r.collection_id = l.id AND r.state = 'serving' WHERE r.id IS NULL"
        )
    ]
    if lost:
        return problem("releases", f"collections without a release in service: {some_of(lost)}", RESTORE)
    states = [row[0] for row in connection.execute("SELECT state FROM releases")]
    kept = sum(state in KEPT_STATES for state in states)
    return ok("releases", f"every collection serves one; {kept:,} are kept")


def _find_faults(connection: Reader, dimensions: Mapping[str, int]) -> _VectorFaults:
    faults, sizes = _VectorFaults(), dict(dimensions)
    rows = connection.execute("SELECT chunk_id, model_id, data FROM vectors")
    while page := rows.fetchmany(ROWS_AT_ONCE):
        faults.checked += len(page)
        # Of a model that is not there, the first vector tells the size.
        sizes.update({model_id: len(data) // 2 for _, model_id, data in page if model_id not in sizes})
        right = [0 < len(data) == 2 * sizes[model_id] for _, model_id, data in page]
        faults.wrong_size += [row[0] for row, fits in zip(page, right, strict=True) if not fits]
        faults.wrong_length += _wrong_length([row for row, fits in zip(page, right, strict=True) if fits])
    return faults


def _wrong_length(rows: list[tuple[int, str, bytes]]) -> list[int]:
    """Chunk ids of vectors that are no unit vectors."""
    if not rows:
        return []
    numbers = np.frombuffer(b"".join(data for *_, data in rows), "<f2").astype(np.float32)
    starts = np.cumsum([0, *(len(data) // 2 for *_, data in rows)])[:-1]
    lengths = np.sqrt(np.add.reduceat(numbers**2, starts))
    wrong = ~(np.abs(lengths - 1) <= LENGTH_TOLERANCE)  # NaN compares as false
    return [rows[at][0] for at in np.flatnonzero(wrong)]


def _documents_of(connection: Reader, chunks: list[int]) -> list[str]:
    some = ", ".join(map(str, chunks[:ROWS_AT_ONCE]))
    return _names(
        connection, f"FROM chunks c JOIN documents d ON d.id = c.document_id WHERE c.id IN ({some})"
    )


def _names(connection: Reader, source: str) -> list[str]:
    """External ids of documents, each once."""
    return [row[0] for row in connection.execute(f"SELECT DISTINCT d.external_id {source}")]
