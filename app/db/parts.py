"""Lists of values in parts that fit into one statement."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

# SQLite allows 32,766 values in one statement; a list of ids goes in parts of this many.
IDS_AT_ONCE = 500

T = TypeVar("T")


def parts_of(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in parts that fit into one statement."""
    return (values[start : start + IDS_AT_ONCE] for start in range(0, len(values), IDS_AT_ONCE))
