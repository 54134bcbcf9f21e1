"""The tar file around a snapshot. Its last member holds the SHA-256 of every byte before it.

The seal will look the same in every later format, so that a damaged file is always told from a newer one.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from app.snapshots.manifest import MANIFEST, FileRecord
from embeddings.errors import Unreadable

SEAL = "seal.sha256"
BLOCK_BYTES = 1 << 20
_TAR_BLOCK = 512

T = TypeVar("T")

Progress = Callable[[str, int, int], None]  # what is counted, how many are done, of how many; may raise


class ArchiveWriter:
    """Appends files to a tar. moved: called with the bytes of each block of a file."""

    def __init__(self, stream: BinaryIO, moved: Callable[[int], None]) -> None:
        self._stream = stream
        self._moved = moved
        self._digest = hashlib.sha256()

    def add(self, name: str, source: BinaryIO) -> FileRecord:
        """Append an open file from its start. Raises OSError when it shrinks meanwhile."""
        size_bytes = source.seek(0, os.SEEK_END)
        source.seek(0)
        self._write(_header(name, size_bytes))
        digest, rest = hashlib.sha256(), size_bytes
        while rest:
            block = source.read(min(BLOCK_BYTES, rest))
            if not block:
                raise OSError(f"{name} became {rest} bytes shorter while it was copied")
            digest.update(block)
            self._write(block)
            self._moved(len(block))
            rest -= len(block)
        self._write(bytes(-size_bytes % _TAR_BLOCK))
        return FileRecord(size_bytes, digest.hexdigest())

    def finish(self, manifest: bytes) -> None:
        """Append the manifest and the seal."""
        self.add(MANIFEST, io.BytesIO(manifest))
        self._stream.write(_tail(self._digest.hexdigest()))

    def _write(self, block: bytes) -> None:
        self._digest.update(block)
        self._stream.write(block)


class ArchiveReader:
    """The members of a snapshot whose seal is whole. Members that are not plain files are refused."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path = path
        self._tar = tar
        self._members = {info.name: info for info in tar}
        plain = all(info.type == tarfile.REGTYPE and info.sparse is None for info in tar.getmembers())
        if not plain or len(self._members) != len(tar.getmembers()):
            raise foreign(path, "a link, a folder, or a name that comes twice")

    @property
    def names(self) -> frozenset[str]:
        """Names of the files, without manifest and seal."""
        return frozenset(self._members) - {MANIFEST, SEAL}

    def read(self, name: str) -> bytes:
        """A small file as a whole. Raises Unreadable when there is none."""
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file in blocks. Raises Unreadable when there is none."""
        stream = self._tar.extractfile(self._members[name]) if name in self._members else None
        if stream is None:
            raise foreign(self._path, f"no {name}")
        with stream:
            while block := stream.read(BLOCK_BYTES):
                yield block


@contextmanager
def open_archive(path: Path, progress: Progress) -> Iterator[ArchiveReader]:
    """Open a snapshot after comparing its seal. Raises Unreadable when one byte is not as it was written."""
    with path.open("rb") as stream:
        _check_seal(path, stream, progress)
        stream.seek(0)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                yield ArchiveReader(path, tar)
        except tarfile.TarError as error:
            raise foreign(path, str(error)) from error


def describe(reader: ArchiveReader, name: str, write: Callable[[bytes], object]) -> FileRecord:
    """Pass a file on, and tell what it is."""
    digest, size_bytes = hashlib.sha256(), 0
    for block in reader.blocks(name):
        digest.update(block)
        write(block)
        size_bytes += len(block)
    return FileRecord(size_bytes, digest.hexdigest())


def foreign(path: Path, found: str) -> Unreadable:
    """The error for a file that is sealed, and yet not as this program writes snapshots."""
    return Unreadable(
        f"{path} is not a snapshot of Footnote: found {found}",
        found=found,
        expected="a file that `footnote snapshot create` made",
        next_step="restore from another snapshot",
    )


def decode(path: Path, encoded: bytes, kind: type[T]) -> T:
    """JSON of a sealed file. Raises Unreadable."""
    try:
        return msgspec.json.decode(encoded, type=kind)
    except msgspec.MsgspecError as error:
        raise foreign(path, str(error)) from error


def _check_seal(path: Path, stream: BinaryIO, progress: Progress) -> None:
    body = os.fstat(stream.fileno()).st_size - len(_tail("0" * 64))
    digest, done = hashlib.sha256(), 0
    while done < body and (block := stream.read(min(BLOCK_BYTES, body - done))):
        digest.update(block)
        done += len(block)
        progress("bytes checked", done, body)
    if body <= 0 or stream.read() != _tail(digest.hexdigest()):
        raise Unreadable(
            f"{path} is damaged, cut short, or no snapshot: its bytes do not fit its seal",
            found=f"SHA-256 {digest.hexdigest()} of {max(body, 0):,} bytes",
            expected=f"the seal of that checksum in the last {len(_tail('0' * 64)):,} bytes",
            next_step="copy the file again from where it was made, or restore from another snapshot",
        )


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o600
    return info.tobuf(tarfile.PAX_FORMAT)


def _tail(digest: str) -> bytes:
    """The member SEAL and the two empty blocks that end a tar."""
    content = digest.encode() + b"\n"
    return _header(SEAL, len(content)) + content + bytes(-len(content) % _TAR_BLOCK + 2 * _TAR_BLOCK)
