"""How likely a decoder holds a text, and the measures that come of it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextScore:
    """A text, scored. logprob: natural logarithm, of all its tokens together; greedy: whether each of them
    was the likeliest at its place.

    tokens, size_bytes (UTF-8), characters: of the scored part; what stands before the first prediction is
    not scored. truncated: whether the context before it was too long and lost its beginning.
    """

    logprob: float
    tokens: int
    size_bytes: int
    characters: int
    greedy: bool = False
    truncated: bool = False

    @property
    def perplexity(self) -> float:
        """Per token; NaN for no token."""
        return math.exp(-self.logprob / self.tokens) if self.tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers; NaN for no byte."""
        return -self.logprob / math.log(2) / self.size_bytes if self.size_bytes else math.nan

    def __add__(self, other: "TextScore") -> "TextScore":
        """Both texts together, each scored on its own."""
        return TextScore(
            self.logprob + other.logprob,
            self.tokens + other.tokens,
            self.size_bytes + other.size_bytes,
            self.characters + other.characters,
            self.greedy and other.greedy,
            self.truncated or other.truncated,
        )


NOTHING_SCORED = TextScore(0.0, 0, 0, 0, greedy=True)
