"""A sealed directory to the part of an index that it holds."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import BuildDamaged, FootnoteError
from retrieval.background import VectorMoments
from retrieval.builds.layout import METADATA, VECTORS, array_path
from retrieval.builds.manifest import BuildManifest
from retrieval.columns import MetadataTable
from retrieval.sealed import SealedPart, StoredRows
from retrieval.sealed_vectors import SealedVectors


def open_part(directory: Path, manifest: BuildManifest) -> SealedPart:
    """Map the files of a build into memory. Raises BuildDamaged when they do not fit together."""
    try:
        part = _mapped(directory, manifest)
    except (OSError, ValueError, RuntimeError, FootnoteError) as error:  # FAISS raises RuntimeError
        raise _unreadable(directory, str(error)) from error
    found = (len(part.chunk_ids), len(part.slots), len(part.vectors), part.vectors.dimension)
    if found != (manifest.rows, manifest.rows, manifest.rows, manifest.dimension):
        raise _unreadable(directory, f"columns of {found} rows")
    return part


def _mapped(directory: Path, manifest: BuildManifest) -> SealedPart:
    def column(name: str) -> NDArray[Any]:
        # An empty file cannot be mapped; small ones are as well read.
        stored: NDArray[Any] = np.load(array_path(directory, name), mmap_mode="r" if manifest.rows else None)
        return stored

    total, outer = np.array(column("moments_total")), np.array(column("moments_outer"))
    return SealedPart(
        chunk_ids=column("chunk_ids"),
        slots=column("slots"),
        is_code=column("is_code"),
        alive=column("alive"),
        document_keys=column("document_keys"),
        by_document=column("by_document"),
        starts=column("starts"),
        metadata=MetadataTable(StoredRows(column("metadata_offsets"), _bytes(directory / METADATA))),
        vectors=SealedVectors.read(directory / VECTORS, manifest.index_kind),
        moments=VectorMoments(manifest.chunks, total, outer),
    )


def _bytes(path: Path) -> memoryview | bytes:
    return np.memmap(path, np.uint8, "r").data if path.stat().st_size else b""


def _unreadable(directory: Path, reason: str) -> BuildDamaged:
    return BuildDamaged(
        f"the build {directory.name} cannot be read: {reason}",
        found=reason,
        expected="the files that were sealed",
        next_step="nothing: an older build or SQL takes its place",
    )
