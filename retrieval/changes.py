"""What every index refuses: changes that cannot be right, and filters on fields that no document has."""

from collections.abc import Iterable, Sequence

import numpy as np

from embeddings.errors import InvalidInput
from retrieval.dense import check_dimension
from retrieval.types import IndexedChunk

MAX_NAMED_FIELDS = 20


def check_changes(reached: int, dimension: int, additions: Sequence[IndexedChunk], seq: int) -> None:
    """Raise InvalidInput for a change that does not fit an index. reached: its sequence number."""
    if seq < reached:
        raise InvalidInput(
            f"changes up to {seq} come after changes up to {reached}",
            field="seq",
            found=str(seq),
            expected=f"at least {reached}",
            next_step="apply changes in the order of their sequence numbers",
        )
    if len({chunk.chunk_id for chunk in additions}) < len(additions):
        raise InvalidInput(
            "a chunk id comes twice in one change",
            field="additions",
            found="repeated chunk ids",
            expected="each id once",
        )
    for chunk in additions:
        check_dimension(dimension, len(chunk.vector))
        if not np.isfinite(chunk.vector).all():
            raise InvalidInput(
                f"the vector of chunk {chunk.chunk_id} is not finite",
                field="vector",
                found="nan or infinity",
                expected="a unit vector",
                next_step="encode the chunk again; if it stays so, the model is damaged",
            )


def unknown_field(path: str, known: Iterable[str]) -> InvalidInput:
    """The error for a filter on a field that no document has. known: those that some have."""
    named = sorted(known)[:MAX_NAMED_FIELDS]
    expected = f"one of {', '.join(named)}" if named else "no filter: the documents have no metadata"
    return InvalidInput(
        f"no document of the collection has the field {path!r}",
        field=f"filter.{path}",
        found=f"{path!r}, which no document has",
        expected=expected,
        next_step="correct the name, or ask with $exists",
    )
