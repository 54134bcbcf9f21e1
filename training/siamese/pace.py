"""How many steps a training has time for. A schedule that is cut off at a high rate teaches less than a short
one that is whole.
"""

import math

# The pace is known after so many steps or, where they are slow, when so much of the time is gone. The first
# step of a process is no measure, nor is a quarter of those looked at.
PACE_STEPS, PACE_SHARE = 12, 0.1
MIN_STEPS = 3
# Of the time that is left, what the planned steps may take: later ones can be slower.
USED_SHARE = 0.92


class Pace:
    """The times at which the steps of this process ended."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._known = False

    def steps_ahead(self, seconds: float, left: float) -> int | None:
        """How many more steps fit into the time; None but at the one step at which the pace becomes known.

        Called after each step. seconds: of training until now; left: that steps may take, inf: no limit.
        """
        self._times.append(seconds)
        steps, gone = len(self._times), seconds - self._times[0]
        slow = steps >= MIN_STEPS and gone > PACE_SHARE * (gone + left)
        if self._known or math.isinf(left) or not (slow or steps == PACE_STEPS):
            return None
        self._known = True
        first = max(1, steps // 4) - 1
        step = (seconds - self._times[first]) / (steps - 1 - first)
        return max(1, int(USED_SHARE * max(left, 0.0) / step))
