"""How long the stages of a request take, told to whoever listens to it.

It stands in the innermost package so that each folder can time its own work; what becomes of the times
(metrics, traces) is decided in `app`. The listener belongs to the context of one request: it comes along into
tasks and into threads that are given the context, and two requests never mix. Where nobody listens a stage
costs less than a microsecond.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from time import perf_counter_ns
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Name of the stage, its beginning and its end on the clock of time.perf_counter_ns. Called in the thread that
# did the work.
StageListener = Callable[[str, int, int], None]

_listener: ContextVar[StageListener | None] = ContextVar("footnote_stage_listener", default=None)


class Stage:
    """A block of work that is timed; also one that fails."""

    __slots__ = ("_began", "_listener", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._listener = _listener.get()
        if self._listener is not None:
            self._began = perf_counter_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listener is not None:
            self._listener(self._name, self._began, perf_counter_ns())


def stage(name: str) -> Stage:
    """A stage to be timed: the block of a `with`.

    Not around the `yield` of a generator: its reader's time would count as its own. Names are few and fixed,
    because each is a series of the metrics.
    """
    return Stage(name)


def timed(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Time each call of a function or coroutine function."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if inspect.iscoroutinefunction(function):
            return _timed_coroutine(name, function)

        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> T:
            with Stage(name):
                return function(*arguments, **options)

        return call

    return decorate


def _timed_coroutine(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*arguments: Any, **options: Any) -> Any:
        with Stage(name):
            return await function(*arguments, **options)

    return call


@contextmanager
def listening(listener: StageListener | None) -> Iterator[None]:
    """Tell the listener of every stage that begins in this context, until the block ends; None: nobody."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
