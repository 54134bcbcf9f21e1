"""Token buckets: who may ask how much in a minute. In memory, of one process.

Source: the generic cell rate algorithm (ITU-T I.371): for each caller one number, the moment at which the
bucket is full again, tells everything.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

WINDOW_S = 60.0
# More are kept only while their buckets are not full.
MOST_CALLERS = 10_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left to a caller.

    limit: of a minute; remaining: requests that may come at once; full_in_s: seconds until it is all of them;
    retry_in_s: seconds until the next is allowed; None when this one is.
    """

    limit: int
    remaining: int
    full_in_s: float
    retry_in_s: float | None


class Buckets:
    """A bucket for each caller. It holds a minute's worth, and fills at the same rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most_callers: int = MOST_CALLERS) -> None:
        self._clock = clock
        self._most_callers = most_callers
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: Hashable, per_minute: int) -> Quota:
        """Take one request out of the caller's bucket, if one is left."""
        now, each_s = self._clock(), WINDOW_S / per_minute
        full_at = max(self._full_at.get(caller, now), now)
        missing_s = full_at + each_s - now
        if missing_s > WINDOW_S + _ROUNDING:
            return Quota(per_minute, 0, full_at - now, missing_s - WINDOW_S)
        self._full_at[caller] = now + missing_s
        if len(self._full_at) > self._most_callers:
            self._forget(now)
        remaining = int((WINDOW_S - missing_s) / each_s + _ROUNDING)
        return Quota(per_minute, remaining, missing_s, None)

    def _forget(self, now: float) -> None:
        """Forget full buckets, and when that is not enough the fuller half: they have asked for least."""
        self._full_at = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) > self._most_callers // 2:
            by_need = sorted(self._full_at.items(), key=lambda item: -item[1])
            self._full_at = dict(by_need[: self._most_callers // 2])
