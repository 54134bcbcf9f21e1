"""How much the service takes on at a time: bounded numbers of requests in flight, and a watch on the event
loop.

What is turned away costs next to nothing and is told when to come back; what is let in is answered soon.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum

from app.settings import Settings
from embeddings.errors import Overloaded

# Share of a new duration in the running mean: about the last twenty count.
_NEW_SHARE = 0.1
# Nothing is known before the first is done.
_FIRST_GUESS_S = 1.0
# Nobody is sent away for longer: by then a crowd has gone, or the next refusal says so.
LONGEST_PAUSE_S = 30.0
LAG_EVERY_S = 0.1
_LAG_SAMPLES = 10
# Every callback of a whole second came so late: each step of each request waits for as long.
MAX_LAG_S = 0.5
# Bodies that are held at once, in requests of the largest size. A write needs its body until it is done.
LARGEST_BODIES = 4


class Load(StrEnum):
    """What a request costs, by which it is let in.

    FOLLOW: a stream that mostly waits. UNBOUNDED: never turned away, such as health and metrics.
    """

    READ = "read"
    SEARCH = "search"
    ANSWER = "answer"
    WRITE = "write"
    FOLLOW = "follow"
    UNBOUNDED = "unbounded"


class Gate:
    """A bounded number of one kind in flight, and how long they take. Belongs to one event loop.

    what: as the refusal names it, such as "searches". most: how many units may be inside. in_flight, refused:
    units inside now, requests turned away so far. mean_s: running mean of seconds inside; None before the
    first has left.
    """

    def __init__(self, what: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.what = what
        self.most = most
        self.in_flight = 0
        self.refused = 0
        self.mean_s: float | None = None
        self._clock = clock
        self._promised = 0.0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Be inside for as long as the block lasts. Raises Overloaded when there is no place."""
        began = self.enter()
        try:
            yield
        finally:
            self.leave(began)

    def check(self, units: int = 1) -> None:
        """Raise Overloaded when so many units have no room. One that is larger than all may come alone."""
        if self.in_flight and self.in_flight + units > self.most:
            raise self.refusal()

    def enter(self, units: int = 1) -> float:
        """Go in; the moment, for `leave`. Raises Overloaded when there is no room."""
        self.check(units)
        self.in_flight += units
        return self._clock()

    def leave(self, began: float, units: int = 1) -> None:
        """Go out, and remember how long it took."""
        self.in_flight -= units
        seconds = self._clock() - began
        before = seconds if self.mean_s is None else self.mean_s
        self.mean_s = before + _NEW_SHARE * (seconds - before)

    def refusal(self) -> Overloaded:
        """The error of one that is turned away, with the time after which it is worth coming back."""
        self.refused += 1
        pause_s = self._pause_s()
        return Overloaded(
            f"the service takes {self.most} {self.what} at once and has {self.in_flight}",
            found=f"{self.in_flight} in flight",
            expected=f"at most {self.most}",
            next_step=f"send it again in {pause_s} s",
            retry_after_s=pause_s,
        )

    def _pause_s(self) -> int:
        """Each of those that are refused is told a moment of its own, one for each that gets done meanwhile,
        so that they do not come back together.
        """
        now, usual = self._clock(), _FIRST_GUESS_S if self.mean_s is None else self.mean_s
        next_promise = max(self._promised + usual / self.most, now + usual)
        self._promised = min(next_promise, now + LONGEST_PAUSE_S)
        return max(1, math.ceil(self._promised - now))


class LoopLag:
    """How late the event loop comes. seconds: the least lateness of the last second, so that one long step
    counts for nothing and a loop that cannot keep up for all.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque([0.0] * _LAG_SAMPLES, maxlen=_LAG_SAMPLES)

    @property
    def seconds(self) -> float:
        return min(self._samples)

    @property
    def worst_s(self) -> float:
        """The greatest lateness of the last second."""
        return max(self._samples)

    def note(self, late_s: float) -> None:
        """Take one sample."""
        self._samples.append(max(0.0, late_s))

    async def watch(self) -> None:
        """Take samples until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.note(loop.time() - due)


class Admission:
    """Lets requests in by what they cost.

    gates: one for each load that is bounded. bodies: bytes of request bodies that are held.
    """

    def __init__(self, settings: Settings) -> None:
        self.gates = {
            Load.READ: Gate("reads", settings.max_in_flight_reads),
            Load.SEARCH: Gate("searches", settings.max_in_flight_searches),
            Load.ANSWER: Gate("answers", max(settings.max_in_flight_answers, settings.decoder_slots)),
            Load.WRITE: Gate("writes", settings.max_in_flight_writes),
            Load.FOLLOW: Gate("followers of jobs", settings.max_in_flight_reads),
        }
        self.bodies = Gate("bytes of requests", LARGEST_BODIES * settings.max_request_bytes)
        self.lag = LoopLag()

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Watch the event loop for as long as the application runs."""
        watching = asyncio.create_task(self.lag.watch())
        try:
            yield
        finally:
            watching.cancel()

    def check(self, load: Load) -> None:
        """Raise Overloaded for a request that could not be let in now; its body need not be read."""
        gate = self.gates[load]
        gate.check()
        if self.lag.seconds > MAX_LAG_S and load not in (Load.READ, Load.FOLLOW):
            raise gate.refusal()
