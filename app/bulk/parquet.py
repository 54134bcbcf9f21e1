"""Tables of vectors as Parquet, by arrow-rs: 33 MB installed, where pyarrow takes 170 MB."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema, fixed_size_list_array
from arro3.io import read_parquet, write_parquet
from numpy.typing import NDArray

from embeddings.errors import InvalidInput

Vectors = NDArray[np.float32] | NDArray[np.float16]

_COMPRESSION = "zstd(3)"
# A row group is in memory while it is written; 16,384 vectors of 384 floats are 25 MB.
_ROW_GROUP = 16_384
_MAGIC = b"PAR1"


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


def write_table(
    schema: Schema, batches: Iterable[RecordBatch], stream: IO[bytes], metadata: Mapping[str, str]
) -> None:
    """Write batches as they come. Raises OSError for a full disk."""
    sink = _Sink(stream)
    write_parquet(
        RecordBatchReader.from_batches(schema, sink.until_failure(batches)),
        sink,  # type: ignore[arg-type]  # it has what the writer calls
        compression=_COMPRESSION,
        max_row_group_size=_ROW_GROUP,
        # No two floats of embeddings are alike: a dictionary of them is work for nothing.
        column_dictionary_enabled={"embedding.list.item": False},
        key_value_metadata=dict(metadata),
    )
    if sink.failure:
        raise sink.failure


def read_parts(paths: Iterable[Path]) -> Iterator[RecordBatch]:
    """The rows of one file after the other."""
    for path in paths:
        yield from read_parquet(path, batch_size=_ROW_GROUP)


def read_records(stream: IO[bytes]) -> Iterator[tuple[int, dict[str, object]]]:
    """Number of each row, from 1, and its fields. Raises InvalidInput for a broken file."""
    _check_magic(stream)
    number = 0
    try:
        for batch in read_parquet(stream):
            columns = {name: batch[name].to_pylist() for name in batch.column_names}
            for row in range(batch.num_rows):
                number += 1
                yield number, {name: values[row] for name, values in columns.items()}
    except Exception as error:  # arro3 has no class of its own for what is broken
        raise InvalidInput(f"cannot read the Parquet file after row {number}: {error}") from error


def _check_magic(stream: IO[bytes]) -> None:
    """arro3 panics, with a trace on stderr, at a file that is no Parquet or was cut."""
    ends = stream.read(len(_MAGIC)), stream.seek(0, 2) >= 12 and stream.seek(-4, 2) and stream.read()
    stream.seek(0)
    if ends != (_MAGIC, _MAGIC):
        raise InvalidInput("the file is no complete Parquet file", expected="`PAR1` at both ends")


class _Sink:
    """A stream for arro3, which panics when a write fails: keeps the failure to be raised afterwards."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.failure: OSError | None = None
        self._stream = stream

    def until_failure(self, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
        """Batches for as long as they can be written."""
        for batch in batches:
            if self.failure:
                return
            yield batch

    def write(self, chunk: bytes) -> int:
        try:
            self._stream.write(chunk)
        except OSError as error:
            self.failure = self.failure or error
        return len(chunk)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def flush(self) -> None:
        """Nothing: who opened the stream flushes it."""
