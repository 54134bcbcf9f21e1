"""The nouns of generation. Offsets are Unicode code points, half-open: `text[start:end]`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from generation.sampling import SamplingSettings


@dataclass(frozen=True, slots=True)
class Passage:
    """One numbered text that a reader may answer from. number: starts at 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of the passages.

    passage_number, start, end: where the answer stands, offsets into that passage's text; None, 0, 0 when refused.
    text: the answer, equal to `passage.text[start:end]`; empty when refused.
    answer_probability: 0 to 1, the probability that the passages hold the answer, 1 - P(refusal).
    tokens, prompt_tokens: decoded and prefilled.
    """

    passage_number: int | None
    start: int
    end: int
    text: str
    answer_probability: float
    tokens: int
    prompt_tokens: int
    finish_reason: Literal["stop", "length", "refused"]


class Reader(Protocol):
    """A decoder that answers a question with a contiguous span of one passage, or refuses.

    passage_limit: how many passages one reading can take.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def passage_limit(self) -> int: ...

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        """Yield the answer's text piece by piece, in the source's casing, and the `Reading` last.

        refuse_below: refuse when answer_probability is below this; None never refuses.
        cancelled: asked before each token; once it is true the iterator ends, without a `Reading`.
        """
        ...
