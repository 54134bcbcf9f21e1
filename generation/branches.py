"""What follows runs of tokens behind one prompt; several runs are read side by side in one pass."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.decoder import BranchTokens, Decoder, DecoderState

Tokens = tuple[int, ...]
_REMEMBERED_PASSES = 4


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of the token behind a run. log_probs: (vocabulary,); copy_probs: (prompt length or more,), how much of
    that mass comes from copying each token of the prompt.
    """

    log_probs: NDArray[np.float32]
    copy_probs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens to write behind the prompt.

    lengths: of the beginnings behind which the next token is to be predicted, ascending. ahead: tokens that
    are read too, at the price of a token each, because they are likely to be asked for next.
    """

    tokens: Tokens
    lengths: tuple[int, ...]
    ahead: Tokens = ()

    def __post_init__(self) -> None:
        if not self.lengths or not 1 <= self.lengths[0] <= self.lengths[-1] <= len(self.tokens):
            raise ValueError(
                f"found lengths {self.lengths} of {len(self.tokens)} tokens, expected some of 1 and above"
            )


class Branches:
    """All that is written behind one prompt. Not safe for two threads at once.

    A run goes on in the branch that holds its beginning and no more; failing that, in a new one. Only the
    predictions of the last passes are remembered, so memory does not grow with the answer.
    """

    def __init__(self, decoder: Decoder, state: DecoderState) -> None:
        """state: after the prompt, with nothing written yet."""
        self._decoder = decoder
        self._state = state
        self._remembered: deque[dict[Tokens, Prediction]] = deque(maxlen=_REMEMBERED_PASSES)

    @property
    def first(self) -> Prediction:
        """Of the token behind the prompt; gone once something is written."""
        return Prediction(self._state.log_probs, self._state.copy_probs)

    def predict(self, runs: Sequence[Run]) -> list[list[Prediction]]:
        """For each run the predictions behind its `lengths`; at most one pass of the decoder."""
        wanted = {run.tokens[:length] for run in runs for length in run.lengths}
        found = {tokens: known for tokens in wanted if (known := self._recall(tokens)) is not None}
        missing = [run for run in runs if any(run.tokens[:length] not in found for length in run.lengths)]
        if missing:
            found.update(self._write(missing, found.keys()))
        return [[found[run.tokens[:length]] for length in run.lengths] for run in runs]

    def behind(self, tokens: Tokens) -> Prediction:
        """The prediction behind one whole run."""
        return self.predict([Run(tokens, (len(tokens),))])[0][0]

    def _recall(self, tokens: Tokens) -> Prediction | None:
        return next((known[tokens] for known in self._remembered if tokens in known), None)

    def _write(self, runs: Sequence[Run], known: Collection[Tokens]) -> dict[Tokens, Prediction]:
        additions: list[BranchTokens] = []
        prefixes: list[Tokens] = []
        for run in runs:
            whole = (*run.tokens, *run.ahead)
            lengths = [length for length in run.lengths if run.tokens[:length] not in known]
            taken = {addition.branch for addition in additions}
            branch, held = self._place(whole[: lengths[0]], taken)
            lengths += range(len(run.tokens) + 1, len(whole) + 1)
            after = tuple(length - 1 - held for length in lengths)
            additions.append(BranchTokens(branch, whole[held : lengths[-1]], after))
            prefixes += [whole[:length] for length in lengths]
        self._state = self._decoder.extend(self._state, additions)
        rows = map(Prediction, self._state.rows, self._state.copy_rows)
        fresh = dict(zip(prefixes, rows, strict=True))
        self._remembered.appendleft(fresh)
        return fresh

    def _place(self, tokens: Tokens, taken: set[int]) -> tuple[int, int]:
        """The branch that goes on to `tokens` by the fewest, and how many it holds; a new one holds none."""
        begun = [
            (len(held), branch)
            for branch, held in self._state.written.items()
            if branch not in taken and len(held) < len(tokens) and held == tokens[: len(held)]
        ]
        if begun:
            length, branch = max(begun)
            return branch, length
        return max([0, *self._state.written, *taken]) + 1, 0
