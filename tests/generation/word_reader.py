"""A reader without a model: it answers with the words behind the last word of the question."""

import re
from collections.abc import Callable, Iterator, Sequence

from generation.sampling import SamplingSettings
from generation.types import Passage, Reading


class WordReader:
    """Finds the question's last word in the first passage that has it and reads on to the end of that
    sentence.

    Its probability is 0.1 when no passage has the word, else 0.9.
    """

    model_id = "word-reader@test"

    def __init__(self, passage_limit: int = 5) -> None:
        self.passage_limit = passage_limit
        self.asked: list[tuple[str, Sequence[Passage], float | None]] = []
        self.tokens = 0

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        self.asked.append((question, passages, refuse_below))
        word = re.findall(r"\w+", question)[-1]
        found = next((passage for passage in passages if word in passage.text), None)
        probability = 0.1 if found is None else 0.9
        if refuse_below is not None and probability < refuse_below:
            yield Reading(None, 0, 0, "", probability, 1, 10, "refused")
            return
        passage = found or passages[0]
        start = passage.text.index(word) + len(word) + 1 if found else 0
        end = start
        for piece in re.findall(r"[^.\s]+\s*|\.", passage.text[start:])[: sampling.max_tokens]:
            if cancelled():
                return
            self.tokens += 1
            end += len(piece)
            yield piece
            if piece == ".":
                break
        yield Reading(
            passage.number, start, end, passage.text[start:end], probability, self.tokens, 10, "stop"
        )
