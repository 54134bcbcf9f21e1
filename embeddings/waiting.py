"""Texts that wait for the encoder: their requests take turns, and texts of like length run together."""

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from embeddings.batching import token_budget_batches
from embeddings.tokens import Keep, TokenIds


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of the texts of a request, in their order.

    vectors: (n, dimension) pooled rows, not normalised; token_counts: with prompt and special tokens, before
    a text was cut; truncated: whether it was.
    """

    vectors: NDArray[np.float32]
    token_counts: tuple[int, ...]
    truncated: tuple[bool, ...]


@dataclass(slots=True, eq=False)
class EmbeddingRequest:
    """Texts of one client, and how far they are.

    vectors, token_counts: filled as the texts are done; taken: texts that a worker has begun to tokenise;
    left: texts without a vector, 0 as soon as nobody waits for the request any more.
    """

    texts: Sequence[str]
    prompt: str
    keep: Keep
    refuse_truncation: bool
    vectors: NDArray[np.float32]
    token_counts: NDArray[np.int64]
    left: int
    taken: int = 0
    future: "Future[Embedded]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Part:
    """`texts[start:stop]` of a request, to be tokenised."""

    request: EmbeddingRequest
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Row:
    """One tokenised text of a request."""

    request: EmbeddingRequest
    position: int
    ids: TokenIds


@dataclass(frozen=True, slots=True)
class Window:
    """How much is tokenised in one go, and so sorted by length together.

    texts, chars: of the whole window, at least one text; turn_texts: of one request in its turn.
    """

    texts: int
    turn_texts: int
    chars: int


class TextQueue:
    """The requests of one lane. Its caller holds a lock.

    waiting_texts: those without a vector whose request is still wanted.
    """

    def __init__(self, window: Window, batch_tokens: int, workers: int) -> None:
        self.waiting_texts = 0
        self._window = window
        self._batch_tokens = batch_tokens
        self._workers = workers
        self._open: set[EmbeddingRequest] = set()
        self._turns: deque[EmbeddingRequest] = deque()
        self._batches: deque[list[Row]] = deque()

    @property
    def has_work(self) -> bool:
        """Whether there is a window to tokenise or a batch to run."""
        return bool(self._turns or self._batches)

    def add(self, request: EmbeddingRequest) -> None:
        """Put a request behind those that wait."""
        self._open.add(request)
        self._turns.append(request)
        self.waiting_texts += request.left

    def remove(self, request: EmbeddingRequest) -> bool:
        """Forget a request and all that is left of it. False when it is not here any more."""
        if request not in self._open:
            return False
        self._open.remove(request)
        if request.taken < len(request.texts):
            self._turns.remove(request)
        self.waiting_texts -= request.left
        request.left = 0
        return True

    def remove_all(self) -> list[EmbeddingRequest]:
        """Forget everything. Returns the requests that somebody waits for."""
        return [request for request in tuple(self._open) if self.remove(request)]

    def next_window(self) -> list[Part]:
        """Texts to tokenise before the workers run out of batches; nothing while there is enough to run.

        Each request gives some of its texts and goes to the back, so that a large one does not keep a small
        one waiting.
        """
        parts: list[Part] = []
        if len(self._batches) >= self._workers:
            return parts
        texts, chars = self._window.texts, self._window.chars
        while self._turns and texts > 0 and chars > 0:
            request = self._turns.popleft()
            part = _cut(request, min(texts, self._window.turn_texts), chars)
            parts.append(part)
            texts -= part.stop - part.start
            chars -= sum(len(text) for text in request.texts[part.start : part.stop])
            if request.taken < len(request.texts):
                self._turns.append(request)
        return parts

    def plan(self, rows: Sequence[Row]) -> None:
        """Make batches of the rows of a window: within the budget, and enough for every worker."""
        lengths = [len(row.ids) for row in rows]
        budget = min(self._batch_tokens, -(-sum(lengths) // self._workers))
        for positions in token_budget_batches(lengths, budget):
            self._batches.append([rows[position] for position in positions])

    def next_batch(self) -> list[Row]:
        """Rows to run together; nothing when there are none that anybody waits for."""
        while self._batches:
            rows = [row for row in self._batches.popleft() if row.request.left]
            if rows:
                return rows
        return []

    def finish(self, rows: Iterable[Row]) -> list[EmbeddingRequest]:
        """Count rows as done. Returns the requests that are complete by it."""
        complete = []
        for row in rows:
            if row.request.left:
                self.waiting_texts -= 1
                row.request.left -= 1
                if not row.request.left:
                    self._open.remove(row.request)
                    complete.append(row.request)
        return complete


def _cut(request: EmbeddingRequest, most_texts: int, most_chars: int) -> Part:
    """Take the next texts of a request: at least one, and no more after the characters are used up."""
    start = request.taken
    for text in islice(request.texts, start, start + most_texts):
        request.taken += 1
        most_chars -= len(text)
        if most_chars <= 0:
            break
    return Part(request, start, request.taken)
