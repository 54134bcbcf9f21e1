import asyncio

import pytest
from litestar import Litestar

from app.http.deadlines import LONGEST_S, allowed_s
from app.http.opening import stopping
from app.overload import Admission, Load
from app.settings import Settings
from embeddings.errors import InvalidInput
from tests.app.http.small_application import Caller, Work, make_application
from tests.app.http.test_limits_in_flight import until

SHORT = "0.05"


@pytest.fixture
async def work() -> Work:
    return Work()


@pytest.fixture
async def admission() -> Admission:
    return Admission(Settings())


@pytest.fixture
async def application(work: Work, admission: Admission) -> Litestar:
    return make_application(work, admission)


def asked(application: Litestar, path: str, timeout_s: str | None = None) -> Caller:
    headers = {} if timeout_s is None else {"x_request_timeout_s": timeout_s}
    caller = Caller(application, path, content_length="2", **headers)
    caller.body(b"{}")
    return caller


@pytest.mark.parametrize("path", ["/search", "/answer"])
async def test_work_that_takes_too_long_is_stopped_and_told(
    application: Litestar, work: Work, admission: Admission, path: str
) -> None:
    caller = asked(application, path, SHORT)
    assert await caller.status() == 504
    assert '"type":"urn:footnote:deadline_exceeded"' in caller.text
    await until(lambda: work.stopped == 1)
    assert {gate.in_flight for gate in admission.gates.values()} == {0}
    assert application.state.deadlines.exceeded == 1


async def test_a_stream_ends_with_the_reason_in_its_own_form(application: Litestar, work: Work) -> None:
    caller = asked(application, "/stream", "1")
    assert await caller.status() == 200
    first, error = caller.text.strip().split("\n\n")
    assert (first, error) == ("data: first", "event: error 504 urn:footnote:deadline_exceeded")
    assert caller.sent[-1]["more_body"] is False
    assert work.stopped == 1


async def test_what_is_done_in_time_has_no_alarm_left(application: Litestar, work: Work) -> None:
    work.may_end.set()
    for path in ("/search", "/stream"):
        assert await asked(application, path, SHORT).status() == 200
    await asyncio.sleep(2 * float(SHORT))
    assert application.state.deadlines.exceeded == 0


async def test_the_body_counts_too(application: Litestar, work: Work) -> None:
    caller = Caller(application, "/search", content_length="2", x_request_timeout_s=SHORT)
    assert await caller.status() == 504
    assert work.began == 0


async def test_writes_and_reads_have_none(application: Litestar, work: Work) -> None:
    reading = Caller(application, "/read", "GET", x_request_timeout_s=SHORT)
    await asyncio.sleep(2 * float(SHORT))
    work.may_end.set()
    assert await reading.status() == 200


async def test_the_service_bounds_those_who_ask_for_nothing_or_for_more(work: Work) -> None:
    application = make_application(work, Admission(Settings()), longest_s=float(SHORT))
    assert await asked(application, "/search").status() == 504
    assert await asked(application, "/search", "3600").status() == 504


async def test_a_time_that_is_none_is_refused_before_any_work(application: Litestar, work: Work) -> None:
    caller = asked(application, "/search", "soon")
    assert await caller.status() == 422
    assert '"field":"X-Request-Timeout-S"' in caller.text
    assert work.began == 0


async def test_when_the_service_stops_what_is_late_is_told_so(application: Litestar, work: Work) -> None:
    search, stream = asked(application, "/search"), asked(application, "/stream")
    await until(lambda: work.began == 2)
    application.state.deadlines.end_all(stopping())
    assert await search.status() == 503
    assert "the service is stopping" in search.text
    assert await stream.status() == 200
    assert stream.text.endswith("event: error 503 urn:footnote:overloaded\n\n")
    assert application.state.deadlines.exceeded == 0


async def test_a_timeout_of_the_work_itself_is_not_taken_for_the_deadline(
    application: Litestar, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> str:
        raise TimeoutError

    monkeypatch.setattr(work, "do", fail)
    assert await asked(application, "/search", "60").status() == 500


@pytest.mark.parametrize("asked_for", ["0", "-1", "nan", "inf", "", "1s", str(LONGEST_S + 1)])
def test_what_is_no_time_names_the_header(asked_for: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        allowed_s(asked_for, 10)
    assert raised.value.field == "X-Request-Timeout-S"


def test_the_shorter_of_both_times_counts() -> None:
    assert [allowed_s(None, 0), allowed_s(None, 5), allowed_s("2.5", 0)] == [None, 5, 2.5]
    assert [allowed_s("2.5", 5), allowed_s("9", 5)] == [2.5, 5]


def test_loads_of_the_real_routes() -> None:
    from app.asgi import create_app  # noqa: PLC0415
    from app.http.limits_in_flight import load_of  # noqa: PLC0415

    loads = {
        (method, route.path): load_of(handler, method)
        for route in create_app(Settings()).routes
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items()
    }
    collection = "/v1/collections/{name:str}"
    assert loads["POST", f"{collection}/search"] is Load.SEARCH
    assert loads["POST", f"{collection}/answer"] is Load.ANSWER
    assert loads["POST", "/v1/chat/completions"] is Load.ANSWER
    assert loads["POST", "/v1/embeddings"] is Load.SEARCH
    assert loads["POST", "/v2/rerank"] is Load.SEARCH
    assert loads["POST", f"{collection}/documents"] is Load.WRITE
    assert loads["GET", f"{collection}/documents"] is Load.READ
    assert loads["GET", "/v1/jobs/{job_id:str}/events"] is Load.FOLLOW
    assert loads["GET", "/health/ready"] is Load.UNBOUNDED
