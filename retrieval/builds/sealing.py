"""A snapshot to a sealed directory.

Where the new rows come after those of the build before, its FAISS index is copied and grows; else, or when
many of its rows are dead, the index is made anew from the live rows alone.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from retrieval.builds.disk import Disk
from retrieval.builds.layout import METADATA, VECTORS, array_path
from retrieval.builds.manifest import (
    FORMAT,
    MANIFEST,
    TANTIVY,
    BuildManifest,
    BuildOrigin,
    describe_files,
    write_manifest,
)
from retrieval.sealed_vectors import IVF_TRAINING_ROWS, IndexKind, choose_kind, copied_index, new_index
from retrieval.snapshot import Snapshot

MAX_DEAD_SHARE = 0.2  # of a build's rows; above it the dead ones are worth a build without them
ADDED_ROWS = 8_192  # between two looks at whether to stop: a fifth of a second of HNSW

Progress = Callable[[int, int], None]  # rows done, rows in all; may raise to stop the work


@dataclass(frozen=True, slots=True)
class SealOptions:
    """threads: for FAISS. kind: of the index; None: by the number of rows."""

    threads: int = 1
    kind: IndexKind | None = None
    progress: Progress = lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a snapshot in the order of their chunk ids.

    copied: the first so many are the rows of its build, in their order.
    """

    rows: NDArray[np.int64]
    alive: NDArray[np.bool_]
    kind: IndexKind
    copied: int


def seal(
    snapshot: Snapshot,
    scratch: Path,
    target: Path,
    origin: BuildOrigin,
    options: SealOptions | None = None,
    before: Path | None = None,
    disk: Disk | None = None,
) -> Path:
    """Write a build into the folder `target`; returns its directory.

    scratch: a folder of the same disk that holds the lexical index under LEXICAL, and becomes the build.
    before: directory of the build that the snapshot was opened from. A failure leaves `target` as it was.
    """
    options, disk = options or SealOptions(), disk or Disk()
    rows = _choose_rows(snapshot, options.kind, before)
    for name, values in _columns(snapshot, rows).items():
        disk.write(array_path(scratch, name), lambda path, values=values: _save(path, values))  # type: ignore[misc]
    disk.write(scratch / METADATA, lambda path: _write_metadata(path, snapshot, rows))
    index = _index(snapshot, rows, options, before)
    disk.write(scratch / VECTORS, lambda path: faiss.write_index(index, str(path)))
    manifest = _manifest(snapshot, rows, origin, scratch)
    disk.write(scratch / MANIFEST, lambda path: write_manifest(path, manifest))
    _sync_all(scratch, disk)
    directory = target / manifest.build_id
    disk.rename(scratch, directory)
    disk.sync(target)
    return directory


def _choose_rows(snapshot: Snapshot, kind: IndexKind | None, before: Path | None) -> _Rows:
    sealed, recent = snapshot.sealed, snapshot.recent
    newer = recent.live_rows + len(sealed)
    wanted = kind or choose_kind(len(snapshot))
    in_order = not len(sealed) or not len(newer) or recent.live_ids[0] > sealed.chunk_ids[-1]
    same_kind = wanted == sealed.vectors.kind
    if before and len(sealed) and in_order and same_kind and snapshot.dead_share <= MAX_DEAD_SHARE:
        rows = np.concatenate([np.arange(len(sealed)), newer])
        alive = np.concatenate([snapshot.sealed_alive, np.ones(len(newer), np.bool_)])
        return _Rows(rows, alive, wanted, len(sealed))
    live = np.flatnonzero(snapshot.allowed(None))
    live = live[np.argsort(snapshot.chunk_ids(live), kind="stable")]
    return _Rows(live, np.ones(len(live), np.bool_), wanted, 0)


def _columns(snapshot: Snapshot, chosen: _Rows) -> dict[str, NDArray[Any]]:
    """The arrays of the build, by the names of SealedPart's fields."""
    sealed, recent, rows = snapshot.sealed, snapshot.recent, chosen.rows
    keys = np.concatenate([sealed.document_keys[sealed.slots], recent.document_keys[recent.slots]])[rows]
    document_keys, slots = np.unique(keys, return_inverse=True)
    return {
        "chunk_ids": snapshot.chunk_ids(rows),
        "slots": slots.astype(np.int32),
        "is_code": np.concatenate([sealed.is_code, recent.is_code])[rows],
        "alive": chosen.alive,
        "document_keys": document_keys.astype(np.int64),
        "by_document": np.argsort(slots, kind="stable").astype(np.int32),
        "starts": np.searchsorted(np.sort(slots), np.arange(len(document_keys) + 1)).astype(np.int64),
        "moments_total": snapshot.moments.total,
        "moments_outer": snapshot.moments.outer,
    }


def _save(path: Path, values: NDArray[Any]) -> None:
    np.save(path, values, allow_pickle=False)


def _write_metadata(path: Path, snapshot: Snapshot, chosen: _Rows) -> None:
    """Metadata of the documents in the order of their keys; nothing of those whose chunks are all dead."""
    encoded = _encoded_metadata(snapshot, chosen)
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(row) for row in encoded.values()], out=offsets[1:])
    _save(array_path(path.parent, "metadata_offsets"), offsets)
    with path.open("wb") as stream:
        stream.writelines(encoded[key] for key in sorted(encoded))


def _encoded_metadata(snapshot: Snapshot, chosen: _Rows) -> dict[int, bytes]:
    """Document key to JSON, ascending by key."""
    sealed, recent = snapshot.sealed, snapshot.recent
    split = len(sealed)
    old = chosen.rows[chosen.rows < split]
    encoded = dict.fromkeys(sealed.document_keys[np.unique(sealed.slots[old])].tolist(), b"{}")
    for slot in np.unique(sealed.slots[old[snapshot.sealed_alive[old]]]).tolist():
        row = sealed.metadata.rows[slot]
        encoded[int(sealed.document_keys[slot])] = msgspec.json.encode(row)
    for slot in np.unique(recent.slots[chosen.rows[chosen.rows >= split] - split]).tolist():
        encoded[int(recent.document_keys[slot])] = msgspec.json.encode(recent.metadata.rows[slot])
    return dict(sorted(encoded.items()))


def _index(snapshot: Snapshot, chosen: _Rows, options: SealOptions, before: Path | None) -> Any:
    """The FAISS index of the chosen rows, in their order."""
    faiss.omp_set_num_threads(options.threads)
    total = len(chosen.rows)
    if chosen.copied and before:
        index = copied_index(before / VECTORS)
    else:
        index = new_index(chosen.kind, snapshot.dimension, total)
        if not index.is_trained:
            index.train(snapshot.vectors(_sample(chosen.rows)))
    for start in range(chosen.copied, total, ADDED_ROWS):
        options.progress(start, total)
        index.add(snapshot.vectors(chosen.rows[start : start + ADDED_ROWS]))
    options.progress(total, total)
    return index


def _sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= IVF_TRAINING_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, IVF_TRAINING_ROWS, replace=False))


def _manifest(snapshot: Snapshot, rows: _Rows, origin: BuildOrigin, scratch: Path) -> BuildManifest:
    return BuildManifest(
        format=FORMAT,
        build_id=f"{snapshot.seq:016d}-{uuid.uuid4().hex[:12]}",
        database_id=origin.database_id,
        collection_id=origin.collection_id,
        chunking=origin.chunking,
        model_id=origin.model_id,
        dimension=snapshot.dimension,
        max_seq=snapshot.seq,
        rows=len(rows.rows),
        chunks=int(np.count_nonzero(rows.alive)),
        documents=len(np.load(array_path(scratch, "document_keys"), mmap_mode="r")),
        index_kind=rows.kind,
        tantivy=TANTIVY,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=describe_files(scratch),
    )


def _sync_all(directory: Path, disk: Disk) -> None:
    for path in sorted(directory.rglob("*")):
        disk.sync(path)
    disk.sync(directory)
