import asyncio
import threading
import time
from contextvars import copy_context

import pytest
from anyio import to_thread

from embeddings.stages import listening, stage, timed


class Heard:
    """Names of the stages that ended, and their lengths in seconds."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []

    def __call__(self, name: str, began: int, ended: int) -> None:
        self.stages.append((name, (ended - began) / 1e9))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.stages]


def test_a_stage_tells_how_long_it_took() -> None:
    heard = Heard()
    with listening(heard), stage("rank"):
        time.sleep(0.01)
    ((name, seconds),) = heard.stages
    assert name == "rank"
    assert 0.01 <= seconds < 5


def test_a_stage_that_fails_is_told_and_its_failure_passes() -> None:
    heard = Heard()
    with pytest.raises(ValueError, match="broken"), listening(heard), stage("decode"):
        raise ValueError("broken")
    assert heard.names == ["decode"]


def test_stages_lie_in_one_another_and_the_inner_ends_first() -> None:
    heard = Heard()
    with listening(heard), stage("rank"), stage("dense"):
        pass
    assert heard.names == ["dense", "rank"]


def test_nobody_hears_what_happens_after_the_end() -> None:
    heard = Heard()
    with listening(heard):
        pass
    with stage("late"):
        pass
    assert heard.stages == []


async def test_functions_and_coroutines_are_timed_and_keep_their_results() -> None:
    @timed("double")
    def double(number: int) -> int:
        return 2 * number

    @timed("wait")
    async def wait(number: int) -> int:
        await asyncio.sleep(0)
        return number

    heard = Heard()
    with listening(heard):
        assert (double(21), await wait(7)) == (42, 7)
    assert heard.names == ["double", "wait"]


async def test_requests_that_run_at_once_do_not_mix() -> None:
    async def request(name: str) -> list[str]:
        heard = Heard()
        with listening(heard):
            for _ in range(3):
                with stage(name):
                    await asyncio.sleep(0)
        return heard.names

    assert await asyncio.gather(request("a"), request("b")) == [["a"] * 3, ["b"] * 3]


async def test_threads_that_are_given_the_context_are_heard() -> None:
    def work() -> None:
        with stage("hydrate"):
            pass

    heard = Heard()
    with listening(heard):
        await to_thread.run_sync(work)
        thread = threading.Thread(target=copy_context().run, args=(work,))
        thread.start()
        thread.join()
    assert heard.names == ["hydrate", "hydrate"]


def test_a_stage_costs_next_to_nothing_where_nobody_listens() -> None:
    best = min(_seconds_of_stages(10_000) for _ in range(20)) / 10_000
    assert best < 2e-6


def _seconds_of_stages(count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        with stage("rank"):
            pass
    return time.perf_counter() - began
