"""How many steps a training has time for. A schedule that is cut off at a high rate teaches less than a short
one that is whole.
"""

import math

# Steps of a process after which its pace is known; the first ones are slow.
PACE_STEPS, SLOW_STEPS = 12, 3
# Of the time that is left, what the planned steps may take: later ones can be slower.
USED_SHARE = 0.92


class Pace:
    """The times at which the steps of this process ended."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def steps_ahead(self, seconds: float, left: float) -> int | None:
        """How many more steps fit into the time; None but at the one step at which the pace becomes known.

        Called after each step. seconds: of training until now; left: until the training has to end, inf: no
        limit.
        """
        self._times.append(seconds)
        if len(self._times) != PACE_STEPS or math.isinf(left):
            return None
        step = (self._times[-1] - self._times[SLOW_STEPS]) / (PACE_STEPS - SLOW_STEPS - 1)
        return max(1, int(USED_SHARE * left / step))
