"""Guesses of what comes next, from what stands in the prompt and the answer so far."""

import numpy as np
from numpy.typing import NDArray

# Shorter matches are chance; longer ones say nothing more.
_SHORTEST, _LONGEST = 2, 16


class SequenceTokens:
    """Prompt and answer of one sequence, in one array that grows in place.

    most_tokens: of both together.
    """

    def __init__(self, prompt: NDArray[np.int64], most_tokens: int) -> None:
        self._tokens = np.empty(max(most_tokens, len(prompt)), dtype=np.int64)
        self._tokens[: len(prompt)] = prompt
        self._length = len(prompt)

    def __len__(self) -> int:
        return self._length

    def append(self, token_id: int) -> None:
        self._tokens[self._length] = token_id
        self._length += 1

    @property
    def ids(self) -> NDArray[np.int64]:
        """(length,), a view."""
        return self._tokens[: self._length]

    def fork(self) -> "SequenceTokens":
        """Tokens that go their own way from here."""
        return SequenceTokens(self.ids, len(self._tokens))


def find_continuation(tokens: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """The `length` tokens that followed the last time these tokens' end stood in them, or none at all.

    Of several places the one with the longest match counts (2 to 16 tokens), then the latest. Where the
    tokens end before there are enough, they repeat themselves, and are taken to go on with that.
    Source: Saxena, "Prompt lookup decoding", 2023; Yang et al., "Inference with reference", 2023.
    """
    ends = np.flatnonzero(tokens[:-1] == tokens[-1])  # places of the last token before
    matched = 1
    while ends.size and matched < _LONGEST:
        longer = ends[ends >= matched]
        longer = longer[tokens[longer - matched] == tokens[len(tokens) - 1 - matched]]
        if not longer.size:
            break
        ends, matched = longer, matched + 1
    if matched < _SHORTEST or not ends.size:
        return tokens[:0]
    start = int(ends[-1]) + 1
    return np.resize(tokens[start : start + length], length)
