import asyncio
from collections.abc import Callable

import pytest
from litestar import Litestar

from app.http import limits_bodies
from app.http.refusals import CLIENT_GONE
from app.overload import Admission, Load
from app.settings import Settings
from tests.app.http.small_application import Caller, Work, make_application

SETTINGS = Settings(
    max_in_flight_reads=1,
    max_in_flight_searches=2,
    max_in_flight_answers=1,
    decoder_slots=1,
    max_in_flight_writes=1,
    max_request_bytes=1000,
)


@pytest.fixture
async def work() -> Work:
    return Work()


@pytest.fixture
async def admission() -> Admission:
    return Admission(SETTINGS)


@pytest.fixture
async def application(work: Work, admission: Admission) -> Litestar:
    return make_application(work, admission)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def asked(application: Litestar, path: str, body: bytes = b"{}") -> Caller:
    caller = Caller(application, path, content_length=str(len(body)))
    caller.body(body)
    return caller


async def test_one_too_many_is_turned_away_with_the_time_and_health_never_is(
    application: Litestar, work: Work, admission: Admission
) -> None:
    running = [asked(application, "/search") for _ in range(2)]
    await until(lambda: work.began == 2)
    refused = asked(application, "/search")
    assert await refused.status() == 429
    assert refused.header("retry-after") == "1"
    assert '"type":"urn:footnote:overloaded"' in refused.text
    assert await Caller(application, "/health/live", "GET").status() == 200
    work.may_end.set()
    assert [await caller.status() for caller in running] == [200, 200]
    assert await asked(application, "/search").status() == 200
    assert admission.gates[Load.SEARCH].in_flight == 0
    assert admission.gates[Load.SEARCH].refused == 1


async def test_each_kind_has_its_own_places(application: Litestar, work: Work) -> None:
    running = [asked(application, "/answer"), Caller(application, "/read", "GET")]
    await until(lambda: work.began == 2)
    assert await asked(application, "/answer").status() == 429
    assert await Caller(application, "/read", "GET").status() == 429
    assert await asked(application, "/write").status() == 200
    search = asked(application, "/search")
    await until(lambda: work.began == 3)
    work.may_end.set()
    assert [await caller.status() for caller in (*running, search)] == [200] * 3


async def test_a_refusal_does_not_wait_for_the_body(application: Litestar, work: Work) -> None:
    running = asked(application, "/answer")
    await until(lambda: work.began == 1)
    late = Caller(application, "/answer", content_length="2")
    assert await late.status() == 429
    work.may_end.set()
    await running.status()


async def test_bodies_that_dribble_in_take_nobodys_place(
    application: Litestar, work: Work, admission: Admission
) -> None:
    slow = [Caller(application, "/search", content_length="100") for _ in range(20)]
    for caller in slow:
        caller.body(b"{", more=True)
    await asyncio.sleep(0.01)
    assert admission.gates[Load.SEARCH].in_flight == 0
    work.may_end.set()
    assert await asked(application, "/search").status() == 200
    for caller in slow:
        caller.vanish()
        assert await caller.status() == CLIENT_GONE
    assert admission.bodies.in_flight == 0


async def test_a_body_that_stops_coming_is_given_up(
    application: Litestar, admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_bodies, "BODY_GRACE_S", 0.05)
    caller = Caller(application, "/write", content_length="100")
    caller.body(b"{", more=True)
    assert await caller.status() == 408
    assert "1 bytes in 0 s" in caller.text
    assert admission.bodies.in_flight == 0


async def test_a_large_body_gets_the_time_that_its_size_needs(
    application: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_bodies, "BODY_GRACE_S", 0.05)
    monkeypatch.setattr(limits_bodies, "MIN_BYTES_PER_S", 500)
    caller = Caller(application, "/write", content_length="400")
    caller.body(b"x" * 200, more=True)
    await asyncio.sleep(0.15)
    caller.body(b"x" * 200)
    assert (await caller.status(), caller.text) == (200, "400")


async def test_all_bodies_together_are_bounded(application: Litestar, admission: Admission) -> None:
    held = []
    for _ in range(4):
        caller = Caller(application, "/write", content_length="1000")
        caller.body(b"x" * 999, more=True)
        held.append(caller)
    await until(lambda: admission.bodies.in_flight == 4 * 999)
    assert await asked(application, "/write", b"x" * 10).status() == 429
    held[0].body(b"x")
    assert await held[0].status() == 200
    assert await asked(application, "/write", b"x" * 10).status() == 200
    for caller in held[1:]:
        caller.vanish()
        await caller.task
    assert admission.bodies.in_flight == 0


async def test_clients_that_vanish_give_their_places_back_and_stop_the_work(
    application: Litestar, work: Work, admission: Admission
) -> None:
    for path in ("/search", "/answer", "/stream"):
        caller = asked(application, path)
        began = work.began
        await until(lambda before=began: work.began == before + 1)  # type: ignore[misc]
        caller.vanish()
        await caller.task
    await until(lambda: work.stopped == 3)
    assert {gate.in_flight for gate in admission.gates.values()} == {0}
