"""Length-grouped batches by token budget.

sentence-transformers accepts `group_by_length` and never reads it, and a fixed batch size pads a short
question to its longest neighbour; here a batch holds about the same number of tokens whatever their
lengths.
"""

import random
from collections.abc import Iterator, Sequence


def length_grouped_batches(
    lengths: Sequence[int], max_tokens: int, rng: random.Random, pool: int = 1024
) -> Iterator[list[int]]:
    """Yield lists of indices whose padded size (longest length times count) is at most `max_tokens`.

    Indices are shuffled, sorted by length within pools of `pool` items, packed, and the batches shuffled,
    so that training still sees lengths in random order. An item longer than the budget gets a batch of its
    own.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches: list[list[int]] = []
    for first in range(0, len(order), pool):
        batches += _pack(sorted(order[first : first + pool], key=lengths.__getitem__), lengths, max_tokens)
    rng.shuffle(batches)
    yield from batches


def _pack(order: Sequence[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    batches: list[list[int]] = []
    current: list[int] = []
    for index in order:  # ascending lengths: the newest item is the longest of its batch
        if current and lengths[index] * (len(current) + 1) > max_tokens:
            batches.append(current)
            current = []
        current.append(index)
    return [*batches, current] if current else batches
