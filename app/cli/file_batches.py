"""Files from disk, read a batch at a time: what is in memory stays bounded however large the folder is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.cli.file_walk import FoundFile
from app.services.types import FileInput, ItemResult, ItemStatus
from embeddings.errors import FootnoteError, TooLarge, Unreadable

# One transaction and one run of the encoder for many small files. Ctrl-C loses at most the batch in hand.
BATCH_FILES = 32
BATCH_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class FileBatch:
    """Files for one transaction. refused: those that could not be read, with the reason. size_bytes: read."""

    files: list[FoundFile] = field(default_factory=list)
    inputs: list[FileInput] = field(default_factory=list)
    refused: list[ItemResult] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def full(self) -> bool:
        return len(self.files) >= BATCH_FILES or self.size_bytes >= BATCH_BYTES


def read_batches(
    files: Iterable[FoundFile], metadata: Mapping[str, Any], max_file_bytes: int
) -> Iterator[FileBatch]:
    """Read the files in order; a batch is closed once it holds BATCH_FILES files or BATCH_BYTES bytes."""
    batch = FileBatch()
    for file in files:
        batch.files.append(file)
        try:
            data = _read(file, max_file_bytes)
        except FootnoteError as error:
            batch.refused.append(ItemResult(file.document_id, ItemStatus.ERROR, error=error))
        else:
            batch.inputs.append(FileInput(file.path.name, data, id=file.document_id, metadata=metadata))
            batch.size_bytes += len(data)
        if batch.full:
            yield batch
            batch = FileBatch()
    if batch.files:
        yield batch


def _read(file: FoundFile, max_file_bytes: int) -> bytes:
    """Read one file. Raises TooLarge before reading it, Unreadable when the system refuses."""
    try:
        size = file.path.stat().st_size
        if size <= max_file_bytes:
            return file.path.read_bytes()
    except OSError as error:
        raise Unreadable(
            f"{file.path} cannot be read: {error.strerror}",
            found=error.strerror,
            expected="a file that this user may read",
            next_step="check its permissions",
        ) from error
    raise TooLarge(
        f"{file.path} has {size} bytes, at most {max_file_bytes} are accepted",
        found=str(size),
        expected=f"at most {max_file_bytes} bytes",
        next_step="split the file, or raise FOOTNOTE_MAX_FILE_BYTES",
    )
