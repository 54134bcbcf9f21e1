from collections.abc import Callable, Iterator, Sequence
from threading import Event

from generation.sampling import SamplingSettings
from generation.types import Passage, Reading


class SpanReader:
    """Answers with the span of the first passage that holds it; refuses when none does.

    started, may_continue: let a test stop the reader in the middle of its answer.
    cancelled: set once it noticed that nobody waits for its answer.
    """

    model_id = "span@1"
    passage_limit = 5

    def __init__(self, span: str) -> None:
        self.span = span
        self.started = Event()
        self.may_continue = Event()
        self.may_continue.set()
        self.cancelled = Event()

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        passage = next((passage for passage in passages if self.span in passage.text), None)
        if passage is None:
            yield Reading(None, 0, 0, "", 0.1, 0, 10, "refused")
            return
        start = passage.text.index(self.span)
        for piece in self.span.split(" "):
            if cancelled():
                self.cancelled.set()
                return
            yield piece
            self.started.set()
            while not self.may_continue.wait(0.01):
                if cancelled():
                    self.cancelled.set()
                    return
        yield Reading(passage.number, start, start + len(self.span), self.span, 0.9, 3, 10, "stop")
