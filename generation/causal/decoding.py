"""One step of everything that is being decoded: guesses are verified, the others share a pass."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.causal.drafting import Draft
from generation.causal.model import PassRunner
from generation.causal.requests import GenerationEvent
from generation.causal.sequences import DecodedSequence
from generation.causal.slots import SlotBuffer
from generation.causal.speculation import PassCosts

_ONLY_PLACE = np.zeros(1, dtype=np.int64)


@dataclass(slots=True)
class DecodingCounts:
    """Since the engine started. passes: through the graph, without those that prefill; tokens: that they
    chose; drafted, accepted: guessed tokens that were verified, and those that were right.
    """

    passes: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class PassRow:
    """A sequence's part of a shared pass. token_id: the one to read."""

    slot: int
    token_id: int


class BatchDecoder:
    """Decodes sequences that lie in slots of one buffer."""

    def __init__(self, runner: PassRunner, slots: SlotBuffer) -> None:
        self._runner = runner
        self._slots = slots
        self._costs = PassCosts()
        self.counts = DecodingCounts()

    def read_together(self, rows: Sequence[PassRow]) -> NDArray[np.float32]:
        """Read one token for each of the rows, in one pass over the stretch of slots that they lie in.

        Slots between them are computed too, and what is written there is behind their end, where it does no
        harm. Returns (rows, vocabulary), valid until the next pass.
        """
        places = np.asarray([row.slot for row in rows])
        first, last = int(places.min()), int(places.max())
        token_ids = np.zeros((last - first + 1, 1), dtype=np.int64)
        token_ids[places - first, 0] = [row.token_id for row in rows]
        started = time.perf_counter()
        logits = self._runner.run(first, token_ids, _ONLY_PLACE)[:, 0]
        self._costs.record(len(token_ids), 1, time.perf_counter() - started)
        self._slots.lengths[places] += 1
        self.counts.passes += 1
        self.counts.tokens += len(rows)
        in_order = len(places) == len(logits) and bool((places == np.arange(first, last + 1)).all())
        return logits if in_order else logits[places - first]

    def draft(self, sequence: DecodedSequence, rows: int) -> Draft:
        """Tokens of a guess that is worth a pass of its own; none if it is not. rows: of the shared pass."""
        return sequence.draft(self._costs, rows)

    def verify(self, sequence: DecodedSequence, draft: Draft) -> list[GenerationEvent]:
        """Read the sequence's last token and a guess behind it in one pass, and keep what is right of it.

        At each place a token is chosen as without a guess, from the model's own distribution, and the next
        place counts while it is the guessed one. For a guess without a distribution of its own that is exact
        rejection sampling, so nothing but the time changes, with the same random numbers drawn.
        Source: Leviathan, Kalman and Matias, ICML 2023.
        """
        token_ids = np.asarray([[int(sequence.tokens.ids[-1]), *draft.token_ids]], dtype=np.int64)
        places = np.arange(token_ids.shape[1])
        started = time.perf_counter()
        logits = self._runner.run(sequence.slot, token_ids, places)[0]
        self._costs.record(1, len(places), time.perf_counter() - started)
        events: list[GenerationEvent] = []
        accepted = 0
        for row, guess in zip(logits, [*draft.token_ids, None], strict=True):
            chosen = sequence.choose(row)
            events += sequence.take(chosen)
            if chosen.token_id != guess or sequence.finish is not None:
                break
            accepted += 1
        self._slots.lengths[sequence.slot] += 1 + accepted
        self._count(sequence, draft, accepted)
        return events

    def _count(self, sequence: DecodedSequence, draft: Draft, accepted: int) -> None:
        tested, right = draft.judged(accepted)
        if tested:
            sequence.acceptance.observe(tested, right)
        self.counts.passes += 1
        self.counts.tokens += 1 + accepted
        self.counts.drafted += len(draft)
        self.counts.accepted += accepted
