"""What the engine is asked, and what it tells: events of one generation, as they come."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from generation.causal.constraints import Constraint
from generation.sampling import SamplingSettings

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt and how to go on from it.

    prompt: token ids with every special token; lookup: speculate with stretches of the prompt, which never
    changes what is chosen; prefix_cache: take blocks of the prompt from the store and leave its own there.
    """

    prompt: tuple[int, ...]
    sampling: SamplingSettings
    constraint: Constraint | None = None
    lookup: bool = True
    prefix_cache: bool = True


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token was chosen. With beams there are none: they are known only at the end.

    choice: starts at 0; text: what became tellable with it, which may be ""; logprob: natural logarithm of
    the model's own probability, nan unless the sampling settings ask for logprobs; top: (token id, logprob)
    of the likeliest, as many as were asked for.
    """

    choice: int
    token_id: int
    text: str
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class ChoiceFinished:
    """A choice is complete.

    text: all of it, without stop sequence; its end may have been held back from the events before, because a
    stop sequence might have begun. token_ids: without the token that ends an answer. score: of a beam, after
    its length penalty.
    """

    choice: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event.

    completion_tokens: of all choices, without the tokens that end an answer; cached_tokens: of the prompt's,
    those that came from the prefix store.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


GenerationEvent = TokenEvent | ChoiceFinished | Finished


class Generation(Iterator[GenerationEvent]):
    """The events of one request, for one reader: a thread with `for`, or a coroutine with `async for`.

    Both raise what ended the request, if it failed, after the events before. Leaving early does not stop the
    decoding: call `cancel`.
    """

    def __init__(self, wake_engine: Callable[[], None]) -> None:
        self._wake_engine = wake_engine
        self._events: deque[GenerationEvent] = deque()
        self._changed = threading.Condition()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._error: BaseException | None = None
        self._ended = False
        self.cancelled = False

    def cancel(self) -> None:
        """Stop decoding at the next token and free the slot. No event comes any more. May be repeated."""
        with self._changed:
            self.cancelled = True
            self._events.clear()
            self._end_locked()
        self._wake_engine()

    def publish(self, events: Sequence[GenerationEvent]) -> None:
        """For the engine: tell these; `Finished` is the last."""
        with self._changed:
            if self._ended or not events:
                return
            self._events.extend(events)
            if isinstance(events[-1], Finished):
                self._end_locked()
            else:
                self._tell_locked()

    def fail(self, error: BaseException) -> None:
        """For the engine: end with an error."""
        with self._changed:
            if not self._ended:
                self._error = error
                self._end_locked()

    def __iter__(self) -> Iterator[GenerationEvent]:
        return self

    def __next__(self) -> GenerationEvent:
        with self._changed:
            while not self._events and not self._ended:
                self._changed.wait()
            event = self._take_locked()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[GenerationEvent]:
        return _AsyncEvents(self)

    async def wait_next(self) -> GenerationEvent | None:
        """Wait for the next event without blocking the loop; None after the last."""
        while True:
            with self._changed:
                if self._events or self._ended:
                    return self._take_locked()
                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                self._waiting = (loop, future)
            await future

    def _take_locked(self) -> GenerationEvent | None:
        if self._events:
            return self._events.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return None

    def _end_locked(self) -> None:
        self._ended = True
        self._tell_locked()

    def _tell_locked(self) -> None:
        self._changed.notify_all()
        if self._waiting is not None:
            (loop, future), self._waiting = self._waiting, None
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, future)


class _AsyncEvents(AsyncIterator[GenerationEvent]):
    def __init__(self, generation: Generation) -> None:
        self._generation = generation

    async def __anext__(self) -> GenerationEvent:
        event = await self._generation.wait_next()
        if event is None:
            raise StopAsyncIteration
        return event


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
