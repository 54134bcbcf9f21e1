"""One choice that is being decoded: its slot, its tokens, what is chosen for it and when it ends."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from generation.causal.choosing import ChosenToken, TokenChooser
from generation.causal.constraints import Constraint
from generation.causal.lookup import SequenceTokens, find_continuation
from generation.causal.requests import ChoiceFinished, FinishReason, GenerationEvent, TokenEvent
from generation.causal.speculation import DRAFT_LENGTHS, Acceptance, PassCosts, choose_draft_length
from generation.causal.text_stream import TextStream
from generation.sampling import SamplingSettings

_NO_DRAFT = np.empty(0, dtype=np.int64)


@dataclass(slots=True, eq=False)
class DecodedSequence:
    """The state of one choice.

    tokens: prompt and answer, of which the last token is not in the slot yet; eos: tokens that end it;
    lookup: whether to guess; finish: set once it is complete.
    """

    choice: int
    slot: int
    tokens: SequenceTokens
    prompt_tokens: int
    sampling: SamplingSettings
    eos: frozenset[int]
    chooser: TokenChooser
    stream: TextStream
    constraint: Constraint | None
    lookup: bool
    finish: FinishReason | None = None
    acceptance: Acceptance = field(default_factory=Acceptance)
    text: list[str] = field(default_factory=list)

    @property
    def generated(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt_tokens

    def choose(self, logits: NDArray[np.float32]) -> ChosenToken:
        """The token that comes next. logits: (vocabulary,)."""
        return self.chooser.choose(logits, self._mask())

    def _mask(self) -> NDArray[np.bool_] | None:
        """(vocabulary,) tokens that may come next; None: all."""
        return None if self.constraint is None else self.constraint.mask()

    def take(self, chosen: ChosenToken) -> list[GenerationEvent]:
        """Go on with the chosen token, and tell what that lets be told."""
        if chosen.token_id in self.eos:
            return self._end("stop")
        self.chooser.observe(chosen.token_id)
        self.tokens.append(chosen.token_id)
        if self.constraint is not None:
            self.constraint.accept(chosen.token_id)
        text = self.stream.push(chosen.token_id)
        self.text.append(text)
        event = TokenEvent(self.choice, chosen.token_id, text, chosen.logprob, chosen.top)
        reason = self._reason()
        return [event] if reason is None else [event, *self._end(reason)]

    def draft(self, costs: PassCosts, rows: int) -> NDArray[np.int64]:
        """Tokens that probably come next and are worth a pass of their own, (n,); often none.

        rows: of the pass that the sequence would share otherwise.
        """
        room = self.sampling.max_tokens - self.generated - 1
        most = min(room, DRAFT_LENGTHS[-1])
        if most < 1:
            return _NO_DRAFT
        forced = self._forced(most)
        if forced.size:
            return forced[: choose_draft_length(costs, rows, forced.size, acceptance=1.0)]
        guessed = find_continuation(self.tokens.ids, most) if self.lookup else _NO_DRAFT
        length = choose_draft_length(costs, rows, guessed.size, self.acceptance.share)
        if not length:
            self.acceptance.forget()
        return guessed[:length]

    def _forced(self, most: int) -> NDArray[np.int64]:
        """Tokens for which the constraint leaves no choice, up to the first that it leaves one for."""
        mask = self._mask()
        if self.constraint is None or mask is None or np.count_nonzero(mask) != 1:
            return _NO_DRAFT
        ahead = self.constraint.copy()
        forced: list[int] = []
        while mask is not None and len(forced) < most and np.count_nonzero(mask) == 1:
            token_id = int(mask.argmax())
            if token_id in self.eos:
                break
            forced.append(token_id)
            ahead.accept(token_id)
            mask = None if ahead.finished else ahead.mask()
        return np.asarray(forced, dtype=np.int64)

    def _reason(self) -> FinishReason | None:
        if self.stream.stopped or (self.constraint is not None and self.constraint.finished):
            return "stop"
        return "length" if self.generated >= self.sampling.max_tokens else None

    def _end(self, reason: FinishReason) -> list[GenerationEvent]:
        self.finish = reason
        self.text.append(self.stream.flush())
        token_ids = tuple(self.tokens.ids[self.prompt_tokens :].tolist())
        return [ChoiceFinished(self.choice, "".join(self.text), token_ids, reason)]
