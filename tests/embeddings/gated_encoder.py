"""An encoder without a model, whose runs a test can hold, watch and break."""

from collections.abc import Callable, Sequence
from queue import Queue
from threading import Event

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from embeddings.tokens import Keep, TokenIds, TokenizedText

TIMEOUT_S = 20.0


class GatedEncoder:
    """A token is a word; the row of a text is (its length, its first word's number, 1).

    batches: the lengths of the rows of each run; tokenized: every text, as often as it was tokenised;
    on_run: called with each batch before it is run.
    """

    dimension = 3

    def __init__(
        self, max_tokens: int = 64, on_run: Callable[[Sequence[TokenIds]], None] = lambda _: None
    ) -> None:
        self.max_tokens = max_tokens
        self.batches: list[list[int]] = []
        self.tokenized: list[str] = []
        self._on_run = on_run

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> list[TokenizedText]:
        if prompt not in {"", "query", "passage"}:
            raise InvalidInput(f"the model has no prompt {prompt!r}", field="prompt")
        self.tokenized += texts
        return [self._fit([int(word) for word in text.split()], keep) for text in texts]

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        self._on_run(batch)
        self.batches.append([len(ids) for ids in batch])
        return np.stack([expected_row(ids) for ids in batch])

    def _fit(self, words: list[int], keep: Keep) -> TokenizedText:
        kept = words[: self.max_tokens] if keep == "start" else words[-self.max_tokens :]
        return TokenizedText(np.asarray(kept, dtype=np.int32), len(words))


def expected_row(ids: Sequence[int] | TokenIds) -> NDArray[np.float32]:
    return np.asarray([len(ids), ids[0], 1], dtype=np.float32)


class Gate:
    """Holds the runs that contain a marked first word until it is opened.

    entered: gets the first words of each run that the gate holds.
    """

    def __init__(self, holds: Callable[[int], bool] = lambda _: True) -> None:
        self.entered: Queue[list[int]] = Queue()
        self._holds = holds
        self._open = Event()

    def __call__(self, batch: Sequence[TokenIds]) -> None:
        words = [int(ids[0]) for ids in batch]
        if any(self._holds(word) for word in words) and not self._open.is_set():
            self.entered.put(words)
            assert self._open.wait(TIMEOUT_S)

    def wait_for_run(self) -> list[int]:
        """First words of a run that has begun and is held."""
        return self.entered.get(timeout=TIMEOUT_S)

    def open(self) -> None:
        self._open.set()
