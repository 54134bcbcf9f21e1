"""The memory of the sequences that are decoded together: one buffer for each state tensor, cut into slots."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.decoder import StateTensor

# Keys and values of some tokens: one array (heads, tokens, head size) for each state tensor.
StateRows = list[NDArray[Any]]


class SlotBuffer:
    """State of `slots` sequences of at most `max_tokens` tokens.

    arrays: for each state tensor (slots, heads, max_tokens, head size). They are zero pages of the operating
    system until they are written, so a slot that never held a long sequence takes no memory for one.
    lengths: (slots,) rows of each that are filled. What lies behind is old and is overwritten, so going back
    is lowering the length.
    """

    def __init__(self, state: Sequence[StateTensor], slots: int, max_tokens: int) -> None:
        self.arrays = [np.zeros(_sizes(tensor, slots, max_tokens), dtype=tensor.dtype) for tensor in state]
        self.lengths = np.zeros(slots, dtype=np.int64)
        self.max_tokens = max_tokens
        self._free = set(range(slots))

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    def take(self) -> int:
        """Take the lowest free slot, empty, so that the used ones stay close together."""
        slot = min(self._free)
        self._free.remove(slot)
        self.lengths[slot] = 0
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back. Raises ValueError when it is free already."""
        if slot in self._free:
            raise ValueError(f"slot {slot} is free already")
        self._free.add(slot)
        self.lengths[slot] = 0

    def lowest_free(self) -> int | None:
        """The free slot that `take` would give."""
        return min(self._free, default=None)

    def copy(self, source: int, target: int, start: int = 0) -> None:
        """Make `target` what `source` is; rows before `start` are known to be the same."""
        end = int(self.lengths[source])
        for array in self.arrays:
            array[target, :, start:end] = array[source, :, start:end]
        self.lengths[target] = end

    def write(self, slot: int, rows: StateRows) -> None:
        """Add rows behind those of the slot."""
        start = int(self.lengths[slot])
        end = start + rows[0].shape[1]
        for array, added in zip(self.arrays, rows, strict=True):
            array[slot, :, start:end] = added
        self.lengths[slot] = end

    def read(self, slot: int, start: int, end: int) -> StateRows:
        """Copies of the rows from `start` to `end`."""
        return [array[slot, :, start:end].copy() for array in self.arrays]


def state_bytes(state: Sequence[StateTensor]) -> int:
    """Bytes that one token takes in all state tensors."""
    return sum(int(np.prod(_sizes(tensor, 1, 1))) * np.dtype(tensor.dtype).itemsize for tensor in state)


def _sizes(tensor: StateTensor, slots: int, max_tokens: int) -> list[int]:
    varying = {"batch": slots, "past": max_tokens}
    return [varying[size] if isinstance(size, str) else size for size in tensor.shape]
