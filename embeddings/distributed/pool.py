"""Actors of a Ray cluster that share the work which waits for them.

Each actor holds one thing that is slow to open, such as an encoder, and does one piece of work at a time. A
machine that is lost costs the pieces that its actors had begun: they go to the front, to the next actor that
is free, and a new actor waits for a processor in place of each lost one.

This is an actor pool of Ray itself and not one of Ray Data, whose pieces wait for the very actor that was
lost with them until there are processors for it again, which end with their input, and whose actors each load
pandas and pyarrow before they begin.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from embeddings.distributed.version import check_version, version_here
from embeddings.errors import FootnoteError, Overloaded

S = TypeVar("S")
T = TypeVar("T")

# So many actors may be lost with one piece, or before they have opened what they hold, before it is to blame.
MAX_LOSSES = 4
_LOOK_S = 0.02


@dataclass(slots=True, eq=False)
class _Piece:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: "Future[Any]" = field(default_factory=Future)
    losses: int = 0


class _Holder:
    """The actor."""

    def __init__(self) -> None:
        self._held: Any = None

    def open(self, opener: Callable[[], Any], version: str) -> None:
        check_version(version)
        self._held = opener()

    def do(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return function(self._held, *arguments)


class RayPool(Generic[S]):
    """`size` actors, each of which holds what `opener` gives there. Thread-safe.

    opener and functions have to be importable on the machines of the cluster, or small.
    """

    def __init__(self, opener: Callable[[], S], size: int) -> None:
        self.size = size
        self._opener = ray.put(opener)
        self._kind: Any = ray.remote(num_cpus=1, max_restarts=0)(_Holder)
        self._changed = threading.Condition()
        self._waiting: deque[_Piece] = deque()
        self._idle: list[Any] = []
        self._opening: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, _Piece]] = {}
        self._lost_while_opening = 0
        self._failure: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="ray-pool", daemon=True)
        self._thread.start()

    @property
    def opening(self) -> int:
        """Actors that do not hold anything yet."""
        return len(self._opening)

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Have `function(what the actor holds, *arguments)` called; cancelling takes out what has not begun.

        The future raises what the function raises, and FootnoteError when the cluster is no longer there.
        """
        piece = _Piece(function, arguments)
        with self._changed:
            if self._closed or self._failure is not None:
                raise self._failure or Overloaded("the work on the Ray cluster is being ended")
            self._waiting.append(piece)
            self._changed.notify()
        return piece.future

    def close(self) -> None:
        """End the actors; what is not done fails with Overloaded."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            for _ in range(self.size):
                self._start_actor()
            while not self._closed and self._failure is None:
                self._hand_out()
                self._take_back()
        except BaseException as error:
            self._failure = _gone(error)
        self._end()

    def _start_actor(self) -> None:
        actor: Any = self._kind.remote()
        self._opening[actor.open.remote(self._opener, version_here())] = actor

    def _hand_out(self) -> None:
        """Give each idle actor a piece; sleep while there is nothing to wait for."""
        with self._changed:
            while self._idle and self._waiting:
                piece = self._waiting.popleft()
                if piece.losses or piece.future.set_running_or_notify_cancel():
                    self._begin(piece)
            if not self._running and not self._opening and not self._waiting and not self._closed:
                self._changed.wait()

    def _begin(self, piece: _Piece) -> None:
        actor = self._idle[-1]
        try:
            reference = actor.do.remote(piece.function, piece.arguments)
        except Exception as error:  # what it is made of cannot be sent
            piece.future.set_exception(error)
            return
        self._running[reference] = (self._idle.pop(), piece)

    def _take_back(self) -> None:
        awaited = [*self._running, *self._opening]
        if not awaited:
            return
        # Short, because an idle actor may be given a piece meanwhile.
        done, _ = ray.wait(awaited, num_returns=1, timeout=_LOOK_S if self._idle else 1.0)
        for reference in done:
            if reference in self._opening:
                self._opened(reference)
            else:
                self._done(reference)

    def _opened(self, reference: Any) -> None:
        actor = self._opening.pop(reference)
        try:
            ray.get(reference)
        except RayTaskError as error:
            self._failure = _cause(error)
        except RayActorError as error:
            self._lost_while_opening += 1
            if self._lost_while_opening >= MAX_LOSSES * self.size:
                raise FootnoteError(f"the actors end before they have begun: {error}") from error
            self._start_actor()
        else:
            self._lost_while_opening = 0
            self._idle.append(actor)

    def _done(self, reference: Any) -> None:
        actor, piece = self._running.pop(reference)
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            self._idle.append(actor)
            piece.future.set_exception(_cause(error))
        except RayError as error:  # the actor, its machine or the result that lay there is lost
            ray.kill(actor)
            self._start_actor()
            self._again(piece, error)
        else:
            self._idle.append(actor)
            piece.future.set_result(result)

    def _again(self, piece: _Piece, error: RayError) -> None:
        piece.losses += 1
        if piece.losses >= MAX_LOSSES:
            piece.future.set_exception(_ends_actors(error))
            return
        with self._changed:
            self._waiting.appendleft(piece)

    def _end(self) -> None:
        """Fail what is not done, and let the actors go."""
        with self._changed:
            failure = self._failure or Overloaded("the work on the Ray cluster is being ended")
            self._failure = failure
            waiting, running = list(self._waiting), list(self._running.values())
            self._waiting.clear()
        begun = [piece for _, piece in running]
        for piece in (*begun, *waiting):
            if piece in begun or piece.losses or piece.future.set_running_or_notify_cancel():
                piece.future.set_exception(failure)
        for actor in (*self._idle, *self._opening.values(), *(actor for actor, _ in running)):
            with suppress(Exception):  # the cluster may be gone
                ray.kill(actor)


def _cause(error: RayTaskError) -> BaseException:
    """What the function itself raised."""
    cause = error.cause
    return cause if isinstance(cause, BaseException) else error


def _gone(error: BaseException) -> FootnoteError:
    if isinstance(error, FootnoteError):
        return error
    return FootnoteError(
        f"the Ray cluster is no longer there: {error}",
        found=type(error).__name__,
        expected="a cluster that answers",
        next_step="start it again; the same command then goes on where this one stopped",
    )


def _ends_actors(error: RayError) -> FootnoteError:
    return FootnoteError(
        f"a piece of work was lost {MAX_LOSSES} times with the actor that did it: {error}",
        found=type(error).__name__,
        expected="an actor that reaches its end",
        next_step="see Ray's logs; most often the machine's memory does not suffice for its actors",
    )
