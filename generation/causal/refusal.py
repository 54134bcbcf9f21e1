"""Whether a decoder says that the passages lack the answer, in the words that its prompt gives for that."""

import math
from collections.abc import Sequence

from generation.causal.chat import TextDelta, TokenLogprob


class RefusalWatch:
    """Follows one answer from its first token.

    pending: what was written may still become the refusal. refused: it did. Case, space and punctuation do
    not count.
    """

    def __init__(self, not_found: str) -> None:
        self._words = _letters(not_found)
        self._text = ""
        self._path = b""  # of the tokens, which come before their text when that is held back
        self._logprob: float | None = 0.0
        self._refusal_probability: float | None = None
        self.pending = True
        self.refused = False

    @property
    def answer_probability(self) -> float | None:
        """1 - P(refusal), 0 to 1; None where the decoder tells no probabilities, or nothing is decided yet.

        P(refusal) is the product of its tokens' probabilities along what was written, and where the answer
        leaves that path, of all alternatives told there that stay on it: so it is the probability of the
        refusal as worded in the prompt, not of every wording.
        """
        probability = self._refusal_probability
        return None if probability is None else min(1.0, max(0.0, 1.0 - probability))

    def push(self, delta: TextDelta) -> None:
        """Take what was written next."""
        if not self.pending:
            return
        if self._refusal_probability is None:
            self._weigh(delta.logprobs)
        self._text += delta.text
        self.pending = self._on_path(self._text)
        if self.pending and _letters(self._text).startswith(self._words):
            self.pending, self.refused = False, True
            self._refusal_probability = None if self._logprob is None else math.exp(self._logprob)

    def finish(self) -> None:
        """The answer has ended: half of the refusal is none."""
        self.pending = False

    def _weigh(self, tokens: Sequence[TokenLogprob]) -> None:
        """Go along the path of the refusal; where the answer leaves it, its probability is known."""
        if not tokens:
            self._logprob = None
        for token in tokens:
            if self._logprob is None:
                return
            if not self._stays(token):
                staying = (math.exp(other.logprob) for other in token.top if self._stays(other))
                self._refusal_probability = math.exp(self._logprob) * sum(staying)
                return
            self._path += token.data
            self._logprob += token.logprob

    def _stays(self, token: TokenLogprob) -> bool:
        return self._on_path((self._path + token.data).decode(errors="ignore"))

    def _on_path(self, text: str) -> bool:
        letters = _letters(text)
        return self._words.startswith(letters) or letters.startswith(self._words)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
