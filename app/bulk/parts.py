"""Parts of an output that is not complete yet, kept beside it so that the same command can go on.

    OUT.partial/job.json           what is being made, of what, and how
    OUT.partial/part-000000.parquet, .errors.jsonl, and so on

A part is written to a temporary name, synced and renamed, so that it is whole or not there. The output itself
appears in one step, when all parts are.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema, fixed_size_list_array
from arro3.io import read_parquet, write_parquet
from numpy.typing import NDArray

from app.bulk.rows import BadLine
from embeddings.errors import Conflict

Vectors = NDArray[np.float32] | NDArray[np.float16]

_JOB = "job.json"
_COMPRESSION = "zstd(3)"
# A row group is in memory while it is written; 16,384 vectors of 384 floats are 25 MB.
_ROW_GROUP = 16_384


class PartialOutput:
    """The folder of parts of one output."""

    def __init__(self, target: Path, schema: Schema) -> None:
        self.folder = target.with_name(target.name + ".partial")
        self._target = target
        self._schema = schema

    def open(self, job: Mapping[str, object], restart: bool) -> None:
        """Make the folder, or find it as the same job left it.

        job: what the parts depend on, as plain values; restart: throw away what another job left.
        Raises Conflict when the parts there belong to another job, and says in what it differs.
        """
        path = self.folder / _JOB
        if restart or not any(self.folder.glob("part-*.parquet")):
            shutil.rmtree(self.folder, ignore_errors=True)
        if path.is_file():
            self._check_same(msgspec.json.decode(path.read_bytes()), job)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(path, msgspec.json.encode(job))

    def has(self, number: int) -> bool:
        """Whether this part is there; it is the last thing of its window that is written."""
        return self._part(number).is_file()

    def add(self, number: int, batch: RecordBatch, bad: Sequence[BadLine]) -> None:
        """Keep one window. Raises OSError when the disk is full; nothing of the window is kept then."""
        if bad:
            lines = [msgspec.json.encode(asdict(line)) for line in bad]
            _write(self._errors(number), b"\n".join(lines) + b"\n")
        part = self._part(number)
        _write_parquet(RecordBatchReader.from_batches(self._schema, [batch]), part, {})

    def finish(self, parts: int, metadata: Mapping[str, str]) -> int:
        """Put the output together and remove the parts. Returns how many lines had errors.

        The list of errors is written beside the output, when there are any.
        """
        batches = (batch for number in range(parts) for batch in _read(self._part(number)))
        _write_parquet(RecordBatchReader.from_batches(self._schema, batches), self._target, metadata)
        errors = b"".join(self._read_errors(parts))
        beside = self._target.with_name(self._target.name + ".errors.jsonl")
        if errors:
            _write(beside, errors)
        else:
            beside.unlink(missing_ok=True)
        shutil.rmtree(self.folder)
        return errors.count(b"\n")

    def _check_same(self, found: Mapping[str, object], job: Mapping[str, object]) -> None:
        changed = [name for name in job if found.get(name) != job[name]]
        if changed:
            name = changed[0]
            raise Conflict(
                f"{self.folder} holds parts of another job: its {', '.join(changed)} differ",
                field=name,
                found=str(found.get(name)),
                expected=str(job[name]),
                next_step="give the options and the file of that job to go on, or --restart to begin anew",
            )

    def _read_errors(self, parts: int) -> Iterator[bytes]:
        for number in range(parts):
            if self._errors(number).is_file():
                yield self._errors(number).read_bytes()

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.parquet"

    def _errors(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.errors.jsonl"


def vector_schema(dimension: int, half: bool) -> Schema:
    """id, text_tokens, truncated, embedding: a list of `dimension` floats of 32 or 16 bits."""
    number = Field("item", DataType.float16() if half else DataType.float32(), nullable=False)
    return Schema(
        [
            Field("id", DataType.string(), nullable=False),
            Field("text_tokens", DataType.int32(), nullable=False),
            Field("truncated", DataType.bool(), nullable=False),
            Field("embedding", DataType.list(number, dimension), nullable=False),
        ]
    )


def vector_batch(
    schema: Schema, ids: Sequence[str], tokens: Sequence[int], truncated: Sequence[bool], vectors: Vectors
) -> RecordBatch:
    """Rows for `vector_schema`; vectors: (n, dimension)."""
    numbers = Array.from_numpy(np.ascontiguousarray(vectors).reshape(-1))
    columns = [
        Array(ids, DataType.string()),
        Array(tokens, DataType.int32()),
        Array(truncated, DataType.bool()),
        fixed_size_list_array(numbers, vectors.shape[1], type=schema.field("embedding")),
    ]
    return RecordBatch.from_arrays(columns, schema=schema)


def _read(path: Path) -> Iterator[RecordBatch]:
    yield from read_parquet(path, batch_size=1 << 20)


def _write_parquet(rows: RecordBatchReader, path: Path, metadata: Mapping[str, str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    # No two floats of embeddings are alike: a dictionary of them is work for nothing.
    write_parquet(
        rows,
        temporary,
        compression=_COMPRESSION,
        max_row_group_size=_ROW_GROUP,
        column_dictionary_enabled={"embedding.list.item": False},
        key_value_metadata=dict(metadata),
    )
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    _move(temporary, path)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    _move(temporary, path)


def _move(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself has to outlive a loss of power
    finally:
        os.close(folder)
