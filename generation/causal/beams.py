"""Beam search over slots: each hypothesis has one, and a hypothesis that wins twice is copied."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from generation.causal.beam import BeamSearch, Hypothesis
from generation.causal.constraints import Constraint
from generation.causal.decoding import PassRow
from generation.causal.requests import ChoiceFinished
from generation.causal.slots import SlotBuffer
from generation.causal.text_stream import TextStream
from generation.sampling import SamplingSettings


class BeamDecoding:
    """The hypotheses of one request. slots: one for each, of which the first holds the prompt."""

    def __init__(
        self,
        search: BeamSearch,
        slots: Sequence[int],
        buffer: SlotBuffer,
        constraint: Constraint | None,
    ) -> None:
        self.slots = list(slots)
        self._search = search
        self._buffer = buffer
        self._prompt_tokens = int(buffer.lengths[slots[0]])
        self._constraints = [constraint and constraint.copy() for _ in slots]
        self._token_ids = np.empty(0, dtype=np.int64)
        self.over = False

    def start(self, logits: NDArray[np.float32]) -> None:
        """Give every hypothesis the prompt, and take the first step. logits: (vocabulary,) after it."""
        for slot in self.slots[1:]:
            self._buffer.copy(self.slots[0], slot)
        self.advance(np.broadcast_to(logits, (len(self.slots), len(logits))))

    def rows(self) -> list[PassRow]:
        """What the next pass has to read."""
        return [PassRow(slot, int(token)) for slot, token in zip(self.slots, self._token_ids, strict=True)]

    def advance(self, logits: NDArray[np.float32]) -> None:
        """Choose the next hypotheses, or find that it is over. logits: (beams, vocabulary)."""
        log_probs = log_softmax(logits)
        for row, constraint in zip(log_probs, self._constraints, strict=True):
            mask = None if constraint is None else constraint.mask()
            if mask is not None:
                row[~mask] = -np.inf
        step = self._search.step(log_probs)
        if step is None:
            self.over = True
            return
        self._follow(step.parents)
        self._constraints = self._accept(step.parents, step.tokens)
        self._token_ids = step.tokens

    def finish(self, sampling: SamplingSettings, tokenizer: Tokenizer) -> list[ChoiceFinished]:
        """The best hypotheses, best first."""
        best = self._search.hypotheses()[: sampling.n]
        return [_finish(choice, each, sampling, tokenizer) for choice, each in enumerate(best)]

    def _follow(self, parents: NDArray[np.int64]) -> None:
        """Make the slots those of the parents. One child of each stays where it is; the others are copied
        over slots that no child needs, from the end of the prompt on, which all share.
        """
        unneeded = [slot for beam, slot in enumerate(self.slots) if beam not in parents]
        kept: set[int] = set()
        followed = []
        for parent in parents.tolist():
            slot = self.slots[parent]
            if parent in kept:
                source, slot = slot, unneeded.pop()
                self._buffer.copy(source, slot, start=self._prompt_tokens)
            kept.add(parent)
            followed.append(slot)
        self.slots = followed

    def _accept(self, parents: NDArray[np.int64], token_ids: NDArray[np.int64]) -> list[Constraint | None]:
        """Each child's own constraint, one token further."""
        constraints = [self._constraints[parent] for parent in parents.tolist()]
        children = [constraint and constraint.copy() for constraint in constraints]
        for child, token_id in zip(children, token_ids.tolist(), strict=True):
            if child is not None:
                child.accept(token_id)
        return children


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row. logits: (rows, vocabulary)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(shifted - np.log(sums), dtype=np.float32)


def _finish(
    choice: int, hypothesis: Hypothesis, sampling: SamplingSettings, tokenizer: Tokenizer
) -> ChoiceFinished:
    stream = TextStream(tokenizer, sampling.stop)
    text = "".join([*map(stream.push, hypothesis.token_ids), stream.flush()])
    token_ids = tuple(hypothesis.token_ids)
    full = len(token_ids) >= sampling.max_tokens and not stream.stopped
    return ChoiceFinished(choice, text, token_ids, "length" if full else "stop", hypothesis.score)
