"""One choice that is being decoded: its slot, its tokens, what is chosen for it and when it ends."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from generation.causal.choosing import ChosenToken, TokenChooser
from generation.causal.drafting import ConstrainedPath, Draft, TextGuesses
from generation.causal.lookup import SequenceTokens, find_continuation
from generation.causal.requests import ChoiceFinished, FinishReason, GenerationEvent, TokenEvent
from generation.causal.speculation import DRAFT_LENGTHS, Acceptance, PassCosts, choose_draft_length
from generation.causal.text_stream import TextStream
from generation.sampling import SamplingSettings

_SUREST = 0.99  # that a guess can be; only what is forced is certain


@dataclass(slots=True, eq=False)
class DecodedSequence:
    """The state of one choice.

    tokens: prompt and answer, of which the last token is not in the slot yet; eos: tokens that end it;
    path: where its constraint stands; lookup: whether to guess; finish: set once it is complete.
    """

    choice: int
    slot: int
    tokens: SequenceTokens
    prompt_tokens: int
    sampling: SamplingSettings
    eos: frozenset[int]
    chooser: TokenChooser
    stream: TextStream
    path: ConstrainedPath | None
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
        return self.chooser.choose(logits, None if self.path is None else self.path.mask())

    def take(self, chosen: ChosenToken) -> list[GenerationEvent]:
        """Go on with the chosen token, and tell what that lets be told."""
        if chosen.token_id in self.eos:
            return self._end("stop")
        self.chooser.observe(chosen.token_id)
        self.tokens.append(chosen.token_id)
        if self.path is not None:
            self.path.accept(chosen.token_id)
        text = self.stream.push(chosen.token_id)
        self.text.append(text)
        event = TokenEvent(self.choice, chosen.token_id, text, chosen.logprob, chosen.top)
        reason = self._reason()
        return [event] if reason is None else [event, *self._end(reason)]

    def draft(self, costs: PassCosts, rows: int) -> Draft:
        """Tokens that probably come next and are worth a pass of their own; often none.

        rows: of the pass that the sequence would share otherwise.
        """
        most = min(self.sampling.max_tokens - self.generated - 1, DRAFT_LENGTHS[-1])
        if most < 1:
            return Draft()
        guessed = self._guess(most)
        draft = guessed.cut(choose_draft_length(costs, rows, guessed.chances))
        if all(chance == 1 for chance in draft.chances):  # nothing is guessed
            self.acceptance.forget()
        return draft

    def _guess(self, most: int) -> Draft:
        share = min(self.acceptance.share, _SUREST)
        if self.path is not None:
            guesses = TextGuesses(self.tokens.ids, most, guesses=self.lookup)
            return self.path.draft(guesses, most, share, self.eos)
        guessed = find_continuation(self.tokens.ids, most).tolist() if self.lookup else []
        return Draft(guessed, [share] * len(guessed))

    def _reason(self) -> FinishReason | None:
        if self.stream.stopped or (self.path is not None and self.path.finished):
            return "stop"
        return "length" if self.generated >= self.sampling.max_tokens else None

    def _end(self, reason: FinishReason) -> list[GenerationEvent]:
        self.finish = reason
        self.text.append(self.stream.flush())
        token_ids = tuple(self.tokens.ids[self.prompt_tokens :].tolist())
        return [ChoiceFinished(self.choice, "".join(self.text), token_ids, reason)]
