import asyncio

import pytest

from app.overload import LONGEST_PAUSE_S, MAX_LAG_S, Admission, Gate, Load, LoopLag
from app.settings import Settings
from embeddings.errors import Overloaded


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pause_of(gate: Gate) -> int:
    """After how many seconds a refused one is told to come back."""
    with pytest.raises(Overloaded) as raised:
        gate.check()
    assert raised.value.retry_after_s is not None
    return raised.value.retry_after_s


def serve_one(gate: Gate, clock: Clock, seconds: float) -> None:
    with gate.place():
        clock.now += seconds


def test_a_full_gate_refuses_and_lets_in_again_when_one_has_left(clock: Clock) -> None:
    gate = Gate("searches", 2, clock)
    with gate.place():
        with gate.place(), pytest.raises(Overloaded, match="takes 2 searches at once"), gate.place():
            raise AssertionError("one too many")
        assert (gate.in_flight, gate.refused) == (1, 1)
        with gate.place():
            assert gate.in_flight == 2
    assert gate.in_flight == 0


def test_a_place_is_free_again_after_a_failure(clock: Clock) -> None:
    gate = Gate("searches", 1, clock)
    with pytest.raises(ZeroDivisionError), gate.place():
        raise ZeroDivisionError
    assert gate.in_flight == 0


def test_the_pause_follows_from_how_long_requests_take(clock: Clock) -> None:
    quick, slow = Gate("searches", 1, clock), Gate("answers", 1, clock)
    for _ in range(50):
        serve_one(quick, clock, 0.01)
        serve_one(slow, clock, 6.5)
    with quick.place(), slow.place():
        assert (pause_of(quick), pause_of(slow)) == (1, 7)


def test_those_that_are_refused_together_are_not_sent_back_together(clock: Clock) -> None:
    gate = Gate("answers", 4, clock)
    for _ in range(50):
        serve_one(gate, clock, 4.0)
    entered = [gate.enter() for _ in range(4)]
    pauses = [pause_of(gate) for _ in range(9)]
    assert pauses == [4, 5, 6, 7, 8, 9, 10, 11, 12]  # one place a second becomes free
    for moment in entered:
        gate.leave(moment)


def test_nobody_is_sent_away_for_longer_than_a_crowd_lasts(clock: Clock) -> None:
    gate = Gate("answers", 1, clock)
    serve_one(gate, clock, 20.0)
    with gate.place():
        assert max(pause_of(gate) for _ in range(500)) == LONGEST_PAUSE_S
        clock.now += 3600
        assert pause_of(gate) == 20


def test_one_that_is_larger_than_all_room_may_come_alone(clock: Clock) -> None:
    gate = Gate("bytes", 10, clock)
    began = gate.enter(11)
    with pytest.raises(Overloaded):
        gate.enter(1)
    gate.leave(began, 11)
    gate.enter(4)
    gate.enter(6)
    with pytest.raises(Overloaded):
        gate.enter(1)


def test_one_late_callback_is_no_overload_and_a_second_of_them_is() -> None:
    lag = LoopLag()
    lag.note(5.0)
    assert (lag.seconds, lag.worst_s) == (0.0, 5.0)
    for _ in range(10):
        lag.note(0.7)
    assert lag.seconds == 0.7


async def test_the_watch_sees_a_blocked_loop() -> None:
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.3
    while loop.time() < until:
        pass
    await asyncio.sleep(0.05)
    watching.cancel()
    assert lag.worst_s > 0.1


def test_a_loop_that_cannot_keep_up_takes_reads_only() -> None:
    admission = Admission(Settings())
    for _ in range(10):
        admission.lag.note(MAX_LAG_S + 0.1)
    admission.check(Load.READ)
    for load in (Load.SEARCH, Load.ANSWER, Load.WRITE):
        with pytest.raises(Overloaded) as raised:
            admission.check(load)
        assert raised.value.retry_after_s
