"""Percentiles of measured values."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values stays within. Raises ValueError on none."""
    if not values:
        raise ValueError("no values, so no percentile")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
