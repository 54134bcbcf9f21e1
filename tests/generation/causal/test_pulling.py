import asyncio
from collections.abc import AsyncGenerator

import pytest

from generation.causal.pulling import pull_events


class Source:
    """Gives numbers up to `fails_at`, then hangs or fails; tells whether it was closed."""

    def __init__(self, ends_at: int = 3, then: str = "end") -> None:
        self.closed = False
        self._ends_at, self._then = ends_at, then

    async def events(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(1, self._ends_at + 1):
                await asyncio.sleep(0)
                yield number
            if self._then == "fail":
                raise ValueError("broken")
            if self._then == "hang":
                await asyncio.sleep(3600)
        finally:
            self.closed = True


def test_all_events_come_in_order_and_the_source_is_closed() -> None:
    source = Source()
    assert list(pull_events(source.events(), lambda: False)) == [1, 2, 3]
    assert source.closed


def test_a_failure_is_raised_here() -> None:
    source = Source(then="fail")
    with pytest.raises(ValueError, match="broken"):
        list(pull_events(source.events(), lambda: False))
    assert source.closed


def test_leaving_early_closes_the_source() -> None:
    source = Source()
    pulled = pull_events(source.events(), lambda: False)
    assert next(pulled) == 1
    pulled.close()
    assert source.closed


def test_what_is_cancelled_ends_also_while_the_source_is_silent() -> None:
    source, asked = Source(ends_at=1, then="hang"), []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 3

    assert list(pull_events(source.events(), cancelled)) == [1]
    assert source.closed
