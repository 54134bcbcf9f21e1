"""What is read: a file, or once and for all standard input."""

import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from embeddings.errors import Conflict, NotFound

STANDARD_INPUT = Path("-")


class Source:
    """Bytes to read, how many of them are read, and their SHA-256.

    name: its ending tells the format; standard input is JSON lines. repeatable: whether it can be read again
    from its start; size_bytes: None where nobody knows.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotFound for a path that is no file."""
        self.repeatable = path != STANDARD_INPUT
        if self.repeatable and not path.is_file():
            raise NotFound(f"there is no file {path}", found=str(path), expected="a file of texts, or -")
        self.name = path.name if self.repeatable else "standard input.jsonl"
        self.read_bytes = 0
        self._path = path
        self._state = self._stat()
        self.size_bytes = self._state[0] if self._state else None
        self._seen = hashlib.sha256()

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes from the start. Raises Conflict at the end for a file that was changed meanwhile."""
        raw = self._path.open("rb", buffering=0) if self.repeatable else sys.stdin.buffer
        watched = io.BufferedReader(cast(io.RawIOBase, _Watched(raw, self)))
        try:
            yield cast(IO[bytes], watched)
        finally:
            if self.repeatable:
                raw.close()
        if self._stat() != self._state:
            raise Conflict(
                f"{self._path} was changed while it was read",
                field="source",
                expected="a file that stays as it is",
                next_step="embed it again when it is complete",
            )

    def sha256(self) -> str:
        """Of the whole file; of standard input, what was read of it so far."""
        if not self.repeatable:
            return self._seen.hexdigest()
        with self._path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def saw(self, chunk: bytes) -> None:
        """Count what was read, and digest what cannot be read again."""
        self.read_bytes += len(chunk)
        if not self.repeatable:
            self._seen.update(chunk)

    def _stat(self) -> tuple[int, int] | None:
        if not self.repeatable:
            return None
        status = self._path.stat()
        return status.st_size, status.st_mtime_ns


class _Watched(io.RawIOBase):
    """A stream that tells its source what was read of it."""

    def __init__(self, stream: IO[bytes] | io.RawIOBase, source: Source) -> None:
        self._stream = stream
        self._source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer)) or b""
        buffer[: len(chunk)] = chunk
        self._source.saw(chunk)
        return len(chunk)
