"""How likely a causal decoder holds given text: token log-probabilities, perplexity, continuations.

Everything is teacher forced: the text is read, and at each token the logits before it say how likely it was.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from generation.causal.model import CausalModel, PassRunner
from generation.causal.slots import SlotBuffer

# Reads tokens (n,) as those from place `start` on of one sequence, over what stood there and behind. Returns
# the logits (n, vocabulary) after each of them, or (0, vocabulary) when they are not wanted.
ReadTokens = Callable[[NDArray[np.int64], int, bool], NDArray[np.float32]]

PASS_TOKENS = 256
PASS_LOGITS = 8 * 1024 * 1024  # 32 MB of float32


class SlotReader:
    """`ReadTokens` on a decoder, in a slot of its own. max_tokens: rows of the slot."""

    def __init__(self, model: CausalModel, max_tokens: int) -> None:
        self._slots = SlotBuffer(model.spec.state, 1, max_tokens)
        self._runner = PassRunner(model, self._slots)
        self._slot = self._slots.take()

    def __call__(self, token_ids: NDArray[np.int64], start: int, wanted: bool) -> NDArray[np.float32]:
        """The logits are valid until the next call."""
        self._slots.lengths[self._slot] = start
        places = np.arange(len(token_ids)) if wanted else np.asarray([len(token_ids) - 1])
        logits: NDArray[np.float32] = self._runner.run(self._slot, token_ids[None], places)[0]
        return logits if wanted else logits[:0]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Of some tokens in a row. logprobs: (n,) natural logarithms; greedy: (n,) whether each was the likeliest
    at its place.
    """

    logprobs: NDArray[np.float64]
    greedy: NDArray[np.bool_]

    @property
    def logprob(self) -> float:
        """Of all of them together."""
        return float(self.logprobs.sum())

    def __len__(self) -> int:
        return len(self.logprobs)


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a long text: tokens `begin` to `end` are read, those from `first` on are scored."""

    begin: int
    end: int
    first: int


class TokenScorer:
    """Scores token ids with one sequence of a decoder's memory. Not for several threads at once.

    context_tokens: the longest text that is scored in one piece; vocabulary_size: columns of the logits;
    pass_tokens, pass_logits: that a pass reads and returns at most.
    """

    def __init__(
        self,
        read: ReadTokens,
        context_tokens: int,
        vocabulary_size: int,
        *,
        pass_tokens: int = PASS_TOKENS,
        pass_logits: int = PASS_LOGITS,
    ) -> None:
        self.context_tokens = context_tokens
        self._read = read
        self._pass_tokens = pass_tokens
        self._logit_rows = max(1, min(pass_tokens, pass_logits // vocabulary_size))

    def score(self, token_ids: Sequence[int], first: int = 1) -> TokenScores:
        """Score the tokens from `first` on, each given all before it.

        Raises InvalidInput for more tokens than the context holds, ValueError for `first` < 1: nothing
        predicts the first token.
        """
        self._check_fit(len(token_ids))
        return self._score(np.asarray(token_ids, dtype=np.int64), 0, first)

    def score_continuations(
        self, sequences: Sequence[Sequence[int]], firsts: Sequence[int]
    ) -> list[TokenScores]:
        """Score each sequence from its `first` on; what all begin with is read once.

        Raises as `score`.
        """
        rows = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        for row in rows:
            self._check_fit(len(row))
        # The last shared token is read again: its logits predict what differs.
        shared = max(0, min(_common_prefix(rows), *firsts) - 1)
        self._prefill(rows[0], 0, shared)
        return [self._score(row, shared, first) for row, first in zip(rows, firsts, strict=True)]

    def score_windows(self, token_ids: Sequence[int], stride: int) -> TokenScores:
        """Score all tokens but the first, a text of any length in windows of the whole context.

        Each token is scored once. stride: tokens between windows; a smaller one gives tokens more context
        and costs more. Source: Hugging Face, "Perplexity of fixed-length models".
        """
        row = np.asarray(token_ids, dtype=np.int64)
        pieces = [
            self._score(row[window.begin : window.end], 0, window.first - window.begin)
            for window in sliding_windows(len(row), self.context_tokens, stride)
        ]
        return _join(pieces)

    def _check_fit(self, tokens: int) -> None:
        if tokens > self.context_tokens:
            raise InvalidInput(
                f"the text has {tokens} tokens, the decoder reads {self.context_tokens}",
                found=f"{tokens} tokens",
                expected=f"at most {self.context_tokens} tokens",
                next_step="shorten it",
            )

    def _prefill(self, token_ids: NDArray[np.int64], start: int, end: int) -> None:
        for begin in range(start, end, self._pass_tokens):
            self._read(token_ids[begin : min(begin + self._pass_tokens, end)], begin, False)

    def _score(self, token_ids: NDArray[np.int64], start: int, first: int) -> TokenScores:
        """Score from `first` on, when the first `start` tokens are read already; start < first."""
        if first < 1:
            raise ValueError(f"token {first} cannot be predicted; the first that can is 1")
        self._prefill(token_ids, start, first - 1)
        pieces = []
        for begin in range(first - 1, len(token_ids) - 1, self._logit_rows):
            end = min(begin + self._logit_rows, len(token_ids) - 1)
            logits = self._read(token_ids[begin:end], begin, True)
            pieces.append(_score_rows(logits, token_ids[begin + 1 : end + 1]))
        return _join(pieces)


def sliding_windows(tokens: int, context_tokens: int, stride: int) -> Iterator[Window]:
    """The windows over a text of so many tokens. Raises InvalidInput unless 1 <= stride < context_tokens."""
    if not 1 <= stride < context_tokens:
        raise InvalidInput(
            f"windows of {context_tokens} tokens cannot move by {stride}: some token would have no context",
            field="stride",
            found=str(stride),
            expected=f"1 to {context_tokens - 1}",
        )
    scored = 1
    for begin in range(0, tokens, stride):
        end = min(begin + context_tokens, tokens)
        if scored < end:
            yield Window(begin, end, scored)
        if end == tokens:
            return
        scored = end


def _score_rows(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> TokenScores:
    """Log-softmax at the targets. logits: (n, vocabulary), targets: (n,)."""
    chosen = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0].astype(np.float64)
    highest = logits.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(under="ignore"):
        mass = np.exp(logits - highest).sum(axis=1, dtype=np.float64)
    peaks = highest[:, 0].astype(np.float64)
    return TokenScores(chosen - peaks - np.log(mass), chosen >= peaks)


def _join(pieces: Sequence[TokenScores]) -> TokenScores:
    if not pieces:
        return TokenScores(np.empty(0, dtype=np.float64), np.empty(0, dtype=np.bool_))
    return TokenScores(
        np.concatenate([piece.logprobs for piece in pieces]),
        np.concatenate([piece.greedy for piece in pieces]),
    )


def _common_prefix(rows: Sequence[NDArray[np.int64]]) -> int:
    """How many tokens all rows begin with."""
    shortest = min(len(row) for row in rows)
    differs = np.any(np.stack([row[:shortest] for row in rows]) != rows[0][:shortest], axis=0)
    return int(differs.argmax()) if differs.any() else shortest
