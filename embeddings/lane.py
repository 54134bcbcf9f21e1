"""A lane of the encoder's queue: requests that wait in it, and the threads that work for them."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from threading import Condition, Event, Thread
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import Overloaded, TextTooLong
from embeddings.tokens import Keep, TokenIds, TokenizedText
from embeddings.waiting import Embedded, EmbeddingRequest, Part, Row, TextQueue, Window

# Longest time that threads which give way may be kept from the processor before another stands in for them.
_STARVING_S = 0.25
# Runs back that count half as much as the latest one for the speed: some 5 s of a busy lane.
_HALF_LIFE_RUNS = 500


class TokenEncoder(Protocol):
    """What runs the texts: the ONNX encoder, or a fake one of the tests. Thread-safe."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model sees, special tokens included."""

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> Sequence[TokenizedText]:
        """What the graph gets to see of each text. Raises InvalidInput for an unknown prompt name."""

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        """Pooled rows (len(batch), dimension), not normalised."""


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How a lane works.

    name: of the threads; max_waiting_texts: beyond it a request is refused; batch_tokens: rows times the
    longest row of one run of the graph; prepare_thread: called by each thread at its start; yields_to: for
    threads that give way to others, whether there is work that the one that stands in for them leaves first.
    """

    name: str
    workers: int
    max_waiting_texts: int
    batch_tokens: int
    window: Window
    prepare_thread: Callable[[], None] = lambda: None
    yields_to: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """waiting_texts: now. Since the start: texts, tokens and batches that were run; padded_tokens: rows times
    the longest row of each batch, so that tokens / padded_tokens tells how well the batches are filled.
    """

    waiting_texts: int = 0
    texts: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    batches: int = 0

    def after(self, rows: Sequence[Row]) -> "LaneStatistics":
        """The same with one more batch."""
        lengths = [len(row.ids) for row in rows]
        return replace(
            self,
            texts=self.texts + len(rows),
            tokens=self.tokens + sum(lengths),
            padded_tokens=self.padded_tokens + len(rows) * max(lengths),
            batches=self.batches + 1,
        )


class EncodingLane:
    """Takes requests and completes their futures. The threads start with the first request."""

    def __init__(self, encoder: TokenEncoder, settings: LaneSettings) -> None:
        self._encoder = encoder
        self._settings = settings
        self._queue = TextQueue(settings.window, settings.batch_tokens, settings.workers)
        self._changed = Condition()  # its lock guards everything below, and the requests
        self._threads: list[Thread] = []
        self._speed = _Speed()
        self._done = LaneStatistics()
        self._moved_at = 0.0  # when one of the lane's own threads last did a step
        self._busy = Event()  # for the stand-in: there is work, or the lane has stopped
        self._stopped = Event()
        self._closing = False

    @property
    def has_work(self) -> bool:
        """Whether texts wait to be tokenised or run."""
        return self._queue.has_work

    def statistics(self) -> LaneStatistics:
        """What waits, and what was done."""
        with self._changed:
            return replace(self._done, waiting_texts=self._queue.waiting_texts)

    def submit(
        self, texts: Sequence[str], prompt: str, keep: Keep, refuse_truncation: bool, refusable: bool
    ) -> "Future[Embedded]":
        """Add a request. Raises Overloaded when it is refusable and the lane is full or closing."""
        request = EmbeddingRequest(
            texts,
            prompt,
            keep,
            refuse_truncation,
            vectors=np.empty((len(texts), self._encoder.dimension), dtype=np.float32),
            token_counts=np.empty(len(texts), dtype=np.int64),
            left=len(texts),
        )
        if not texts:
            request.future.set_result(self._result(request))
            return request.future
        with self._changed:
            self._check_open(len(texts), refusable)
            self._start()
            if not self._queue.has_work:
                self._moved_at = time.perf_counter()
            self._queue.add(request)
            self._busy.set()
            self._changed.notify()
        request.future.add_done_callback(lambda _: self._forget(request))
        return request.future

    def stop(self) -> None:
        """Fail what waits, and take nothing more."""
        with self._changed:
            self._closing = True
            waiting = self._queue.remove_all()
            self._stopped.set()
            self._busy.set()
            self._changed.notify_all()
        for request in waiting:
            _set_exception(request.future, _stopping())

    def join(self) -> None:
        """Return when the threads have ended their present runs."""
        for thread in self._threads:
            thread.join()

    def _check_open(self, texts: int, refusable: bool) -> None:
        if self._closing:
            raise _stopping()
        waiting, most = self._queue.waiting_texts, self._settings.max_waiting_texts
        # What is larger than the queue would never find room: it is taken when nothing else waits.
        if refusable and waiting and waiting + texts > most:
            retry_after_s = self._seconds_for(min(waiting, waiting + texts - most))
            raise Overloaded(
                f"{waiting} texts wait to be embedded; with these {texts} they would be more than {most}",
                found=f"{waiting} waiting",
                expected=f"at most {most} with those of the request",
                next_step=f"send it again in {retry_after_s} s",
                retry_after_s=retry_after_s,
            )

    def _seconds_for(self, texts: int) -> int:
        return max(1, math.ceil(texts * self._speed.seconds_per_text / self._settings.workers))

    def _start(self) -> None:
        if self._threads:
            return
        works: list[Callable[[], None]] = [self._work] * self._settings.workers
        if self._settings.yields_to is not None:
            works.append(partial(self._stand_in, self._settings.yields_to))
        for number, work in enumerate(works):
            self._threads.append(Thread(target=work, name=f"{self._settings.name}-{number}", daemon=True))
            self._threads[-1].start()

    def _stand_in(self, yields_to: Callable[[], bool]) -> None:
        """Work at normal priority while other programs keep the lane's threads from the processor.

        Beside programs that want all cores such threads get a hundredth of one, and an ingest would all but
        stop.
        """
        while self._busy.wait() and not self._stopped.wait(_STARVING_S):
            while self._step_if_starving() and not yields_to():
                pass

    def _step_if_starving(self) -> bool:
        with self._changed:
            if not self._queue.has_work:
                if not self._closing:  # or the stand-in, which was about to look, would wait for ever
                    self._busy.clear()
                return False
            if time.perf_counter() - self._moved_at < _STARVING_S:
                return False
            parts, rows = self._next()
        self._do(parts, rows)
        return True

    def _work(self) -> None:
        self._settings.prepare_thread()
        while not self._closing:
            with self._changed:
                parts, rows = self._next()
                if self._queue.has_work:
                    self._changed.notify()  # there is something for another worker, too
                elif not parts and not rows and not self._closing:
                    self._changed.wait()
            self._do(parts, rows)
            self._moved_at = time.perf_counter()

    def _next(self) -> tuple[Sequence[Part], Sequence[Row]]:
        """Texts to tokenise, or rows to run, or nothing."""
        parts = self._queue.next_window()
        return parts, [] if parts else self._queue.next_batch()

    def _do(self, parts: Sequence[Part], rows: Sequence[Row]) -> None:
        if parts:
            self._tokenize(parts)
        elif rows:
            self._run(rows)

    def _tokenize(self, parts: Sequence[Part]) -> None:
        rows = [row for part in parts for row in self._rows(part)]
        with self._changed:
            self._queue.plan(rows)

    def _rows(self, part: Part) -> list[Row]:
        """The tokenised texts of a part; none when it fails its request."""
        request = part.request
        try:
            texts = self._encoder.tokenize(
                request.texts[part.start : part.stop], request.prompt, request.keep
            )
            for position, text in enumerate(texts, part.start):
                request.token_counts[position] = text.count
                if text.truncated and request.refuse_truncation:
                    raise TextTooLong(position, text.count, self._encoder.max_tokens)
        except Exception as error:
            self._fail(request, error)
            return []
        return [Row(request, position, text.ids) for position, text in enumerate(texts, part.start)]

    def _run(self, rows: Sequence[Row]) -> None:
        """Run one batch; what goes wrong in it fails the requests that have texts in it, and no others."""
        started = time.perf_counter()
        try:
            vectors = self._encoder.run([row.ids for row in rows])
            for row, vector in zip(rows, vectors, strict=True):
                row.request.vectors[row.position] = vector
        except Exception as error:
            for request in dict.fromkeys(row.request for row in rows):
                self._fail(request, error)
            return
        with self._changed:
            self._speed.note(len(rows), time.perf_counter() - started)
            self._done = self._done.after(rows)
            complete = self._queue.finish(rows)
        for request in complete:
            if request.future.set_running_or_notify_cancel():
                request.future.set_result(self._result(request))

    def _result(self, request: EmbeddingRequest) -> Embedded:
        counts = request.token_counts
        truncated = counts > self._encoder.max_tokens
        return Embedded(request.vectors, tuple(counts.tolist()), tuple(truncated.tolist()))

    def _fail(self, request: EmbeddingRequest, error: Exception) -> None:
        with self._changed:
            was_open = self._queue.remove(request)
        if was_open:
            _set_exception(request.future, error)

    def _forget(self, request: EmbeddingRequest) -> None:
        with self._changed:
            self._queue.remove(request)


class _Speed:
    """Time a text takes one worker, of late."""

    def __init__(self) -> None:
        self._texts = 0.0
        self._seconds = 0.0

    @property
    def seconds_per_text(self) -> float:
        return self._seconds / self._texts if self._texts else 0.0

    def note(self, texts: int, seconds: float) -> None:
        kept = 0.5 ** (1 / _HALF_LIFE_RUNS)
        self._texts = kept * self._texts + texts
        self._seconds = kept * self._seconds + seconds


def _set_exception(future: "Future[Embedded]", error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _stopping() -> Overloaded:
    return Overloaded("the service is stopping", next_step="ask again when it has started")
