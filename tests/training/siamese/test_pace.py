"""How many steps a training plans for the time that it has left."""

import math
from collections.abc import Sequence

import pytest

from training.siamese.pace import PACE_STEPS, USED_SHARE, Pace


def _told(ends: Sequence[float], time_for_steps: float) -> list[int | None]:
    """What `Pace` says after each step that ends at such a time."""
    pace = Pace()
    return [pace.steps_ahead(end, time_for_steps - end) for end in ends]


def test_quick_steps_are_measured_over_a_dozen_without_the_first_ones() -> None:
    ends = [10.0, 15.0, 18.0, *(18.0 + n for n in range(1, 20))]  # the first three take longer
    told = _told(ends, 1_000.0)
    known = PACE_STEPS - 1
    assert told[known] == int(USED_SHARE * (1_000.0 - ends[known]) / 1.0)
    assert [each for each in told if each is not None] == [told[known]]


def test_slow_steps_are_measured_at_the_third() -> None:
    told = _told([70.0, 110.0, 150.0, 190.0], 450.0)
    assert told == [None, None, int(USED_SHARE * 300.0 / 40.0), None]


def test_what_takes_a_tenth_of_the_time_before_the_dozen_counts_at_once() -> None:
    told = _told([float(n) for n in range(1, 13)], 60.0)
    assert [n for n, each in enumerate(told, 1) if each is not None] == [7]


def test_there_is_one_step_left_when_the_time_is_over() -> None:
    assert _told([10.0, 20.0, 30.0], 25.0)[-1] == 1


@pytest.mark.parametrize("steps", [PACE_STEPS, 30])
def test_without_a_limit_nothing_is_planned_anew(steps: int) -> None:
    assert set(_told([float(n) for n in range(steps)], math.inf)) == {None}
