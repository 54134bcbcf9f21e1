"""What the decoder benchmark asks of an adapter. Only the standard library: it runs in every environment."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

TokenIds = Sequence[int]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of the staggered load. at_s: after the start; new_tokens: exactly."""

    at_s: float
    prompt: list[int]
    new_tokens: int


@dataclass(slots=True)
class Timeline:
    """When tokens came. started, and the times of each sequence's tokens: seconds of one clock."""

    started: float
    times: list[list[float]]
    tokens: list[list[int]] = field(default_factory=list)

    @classmethod
    def begin(cls, sequences: int) -> "Timeline":
        """A time line that starts now."""
        return cls(time.perf_counter(), [[] for _ in range(sequences)])

    def note(self) -> None:
        """A token of every sequence is there now."""
        now = time.perf_counter()
        for times in self.times:
            times.append(now)

    def figures(self) -> dict[str, object]:
        """first_s: until every sequence had its first token; total_s: until the last token of all;
        decode_tokens, decode_s: while all sequences were being decoded, none still before its first token
        and none complete.
        """
        first = max(times[0] for times in self.times)
        until = min(times[-1] for times in self.times)
        within = sum(first < when <= until for times in self.times for when in times)
        return {
            "first_s": first - self.started,
            "total_s": max(times[-1] for times in self.times) - self.started,
            "decode_tokens": within,
            "decode_s": until - first,
            "tokens": self.tokens,
        }


class Decoder(Protocol):
    """Each adapter's class of this name: `Decoder(model, variant, threads)`."""

    def generate(self, prompts: Sequence[TokenIds], new_tokens: int) -> Timeline:
        """Exactly so many greedy tokens for each of the prompts, which are of one length."""
        ...

    def serve(self, arrivals: Sequence[Arrival]) -> list[float]:
        """Seconds after the start at which each of the requests was complete, as they arrive over time."""
        ...


def wait_until(started: float, at_s: float) -> None:
    """Sleep until so long after `started`, in seconds of `time.perf_counter`."""
    time.sleep(max(0.0, started + at_s - time.perf_counter()))
