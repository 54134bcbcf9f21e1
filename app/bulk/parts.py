"""Parts of an output that is not complete yet, kept beside it so that the same command can go on.

    OUT.partial/job.json           what is being made, of what, and how
    OUT.partial/part-000000.parquet, .errors.jsonl, and so on

A part is written to a temporary name, synced and renamed, so that it is whole or not there. The output itself
appears in one step, when all parts are.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

import msgspec
from arro3.core import RecordBatch, Schema

from app.bulk.parquet import read_parts, write_table
from app.bulk.rows import BadLine
from embeddings.errors import Conflict

_JOB = "job.json"


class PartialOutput:
    """The folder of parts of one output. One process at a time has it open."""

    def __init__(self, target: Path, schema: Schema) -> None:
        self.folder = target.with_name(target.name + ".partial")
        self._target = target
        self._schema = schema

    @contextmanager
    def open(self, job: Mapping[str, object], *, restart: bool, keep: bool = True) -> Iterator[None]:
        """Make the folder, or find it as the same job left it.

        job: what the parts depend on, as plain values; restart: throw away what an earlier call left; keep:
        leave the parts for another call when this one does not come to its end.
        Raises Conflict when another process is at it, or when the parts there belong to another job, and
        says in what it differs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _only_process(self.folder):
            try:
                if restart or not self._parts:
                    self._clear()
                    _write(self.folder / _JOB, msgspec.json.encode(job))
                self._check_same(job)
                yield
            finally:
                if not (keep and self._parts):
                    self._clear()
                    with suppress(OSError):  # it holds what somebody else put there
                        self.folder.rmdir()

    def has(self, number: int) -> bool:
        """Whether this part is there; it is the last thing of its window that is written."""
        return self._part(number).is_file()

    def add(self, number: int, batch: RecordBatch, bad: Sequence[BadLine]) -> None:
        """Keep one window. Raises OSError when the disk is full; nothing of the window is kept then."""
        if bad:
            lines = [msgspec.json.encode(asdict(line)) for line in bad]
            _write(self._errors(number), b"\n".join(lines) + b"\n")
        with _replacing(self._part(number)) as stream:
            write_table(self._schema, [batch], stream, {})

    def finish(self, parts: int, metadata: Mapping[str, str]) -> int:
        """Put the output together and remove the parts. Returns how many lines had errors.

        The list of errors is written beside the output, when there are any.
        """
        errors = self._finish_errors(parts)
        with _replacing(self._target) as stream:
            batches = read_parts(self._part(number) for number in range(parts))
            write_table(self._schema, batches, stream, metadata)
        self._clear()
        return errors

    def _finish_errors(self, parts: int) -> int:
        beside = self._target.with_name(self._target.name + ".errors.jsonl")
        found = [path for path in map(self._errors, range(parts)) if path.is_file()]
        if not found:
            beside.unlink(missing_ok=True)
            return 0
        with _replacing(beside) as stream:
            for path in found:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, stream)
        with beside.open("rb") as stream:
            return sum(1 for _ in stream)

    def _check_same(self, job: Mapping[str, object]) -> None:
        found = self._read_job()
        changed = [name for name in job if found.get(name) != job[name]]
        if changed:
            name = changed[0]
            raise Conflict(
                f"{self.folder} holds parts of another job, which differs in: {', '.join(changed)}",
                field=name,
                found=str(found.get(name)),
                expected=str(job[name]),
                next_step="give the options and the file of that job to go on, or --restart to begin anew",
            )

    def _read_job(self) -> dict[str, object]:
        try:
            return msgspec.json.decode((self.folder / _JOB).read_bytes(), type=dict[str, object])
        except (FileNotFoundError, msgspec.MsgspecError):  # nobody knows what the parts are of
            return {}

    @property
    def _parts(self) -> list[Path]:
        return list(self.folder.glob("part-*.parquet"))

    def _clear(self) -> None:
        for pattern in ("part-*", f"{_JOB}*"):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.parquet"

    def _errors(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.errors.jsonl"


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Hold the folder; the lock ends with the process, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f"another process is writing to {folder}", next_step="wait for its end, or give another --out"
        ) from error


def _write(path: Path, content: bytes) -> None:
    with _replacing(path) as stream:
        stream.write(content)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete and on the disk."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself has to outlive a loss of power
    finally:
        os.close(folder)
