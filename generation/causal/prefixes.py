"""State of prompt beginnings that came before, kept in blocks, so that they need no second prefill."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.causal.slots import SlotBuffer, StateRows

BLOCK_TOKENS = 64


@dataclass(frozen=True, slots=True)
class PrefixStatistics:
    """asked: prompt tokens that admissions looked for; found: those of them that the store had; evicted:
    blocks.
    """

    blocks: int
    size_bytes: int
    asked: int
    found: int
    evicted: int


class PrefixStore:
    """Blocks of state under a budget in bytes; the least recently used ones go first.

    A block's key is a hash over the model and all tokens up to its end, so that equal keys mean equal state,
    whatever stands behind. Blocks are copied into a slot and out of it: ONNX Runtime's attention reads one
    contiguous buffer for each sequence, so two sequences cannot look at the same block.
    Source: vLLM's automatic prefix caching (hash chains); Kwon et al., SOSP 2023 (blocks).
    """

    def __init__(self, model_id: str, budget_bytes: int, block_tokens: int = BLOCK_TOKENS) -> None:
        self._root = hashlib.blake2b(model_id.encode(), digest_size=16).digest()
        self._budget_bytes = budget_bytes
        self._block_tokens = block_tokens
        self._blocks: OrderedDict[bytes, StateRows] = OrderedDict()
        self._size_bytes = 0
        self._asked = self._found = self._evicted = 0

    def load(self, slots: SlotBuffer, slot: int, prompt: NDArray[np.int64]) -> int:
        """Fill an empty slot with what is known of the prompt, and return the number of tokens.

        The last token of a prompt is always left to prefill: its logits choose the first of the answer.
        """
        self._asked += len(prompt)
        keys = []
        for key in self._keys(prompt[: len(prompt) - 1]):
            if key not in self._blocks:
                break
            slots.write(slot, self._blocks[key])
            keys.append(key)
        self._touch(keys)
        self._found += len(keys) * self._block_tokens
        return len(keys) * self._block_tokens

    def save(self, slots: SlotBuffer, slot: int, tokens: NDArray[np.int64]) -> None:
        """Keep the full blocks of a slot that holds these tokens."""
        keys = self._keys(tokens)
        for number, key in enumerate(keys):
            if key not in self._blocks:
                start = number * self._block_tokens
                self._add(key, slots.read(slot, start, start + self._block_tokens))
        self._touch(keys)
        self._evict()

    def statistics(self) -> PrefixStatistics:
        """Since the engine started."""
        return PrefixStatistics(len(self._blocks), self._size_bytes, self._asked, self._found, self._evicted)

    def _keys(self, tokens: NDArray[np.int64]) -> list[bytes]:
        """One for each full block."""
        if not self._budget_bytes:
            return []
        keys, key = [], self._root
        for end in range(self._block_tokens, len(tokens) + 1, self._block_tokens):
            block = tokens[end - self._block_tokens : end].tobytes()
            key = hashlib.blake2b(key + block, digest_size=16).digest()
            keys.append(key)
        return keys

    def _add(self, key: bytes, rows: StateRows) -> None:
        self._blocks[key] = rows
        self._size_bytes += _size(rows)

    def _touch(self, keys: list[bytes]) -> None:
        """Beginnings are the most recent: without its beginning a block is never found."""
        for key in reversed(keys):
            self._blocks.move_to_end(key)

    def _evict(self) -> None:
        while self._size_bytes > self._budget_bytes:
            _, rows = self._blocks.popitem(last=False)
            self._size_bytes -= _size(rows)
            self._evicted += 1


def _size(rows: StateRows) -> int:
    return sum(row.nbytes for row in rows)
