"""What a decoder has written of one passage, before it is judged."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Written:
    """An answer in the words of one passage.

    tokens: the passage's marker and the answer, without an end. number: of the passage; start, end: code
    points in its text. log_likelihood: in nats, given that the decoder answers. margin: nats to the best
    answer that stands elsewhere, 0 to `MAX_MARGIN`; 0 where none was looked for. sentences: how many whole
    ones it was chosen as, 0 for a span.
    """

    tokens: tuple[int, ...]
    number: int
    start: int
    end: int
    log_likelihood: float
    margin: float
    finish: Literal["stop", "length"]
    sentences: int = 0
