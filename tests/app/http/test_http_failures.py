import logging
from dataclasses import replace
from typing import Any

import pytest

from app.http.problems import problem_of, respond, status_of
from app.resources import Resources
from embeddings import errors
from tests.app.http.conftest import application_of, assert_problem, connect


class BrokenCollections:
    """Fails as no service should."""

    async def list(self) -> Any:
        raise ZeroDivisionError("secret of the inside")


async def test_unexpected_failure_leaks_nothing_and_is_logged_once(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(resources, collections=BrokenCollections())  # type: ignore[arg-type]
    application = application_of(broken)
    async with connect(application) as client:
        await application.state.opening.wait_until_ready()
        with caplog.at_level(logging.ERROR):
            reply = await client.get("/v1/collections")
    assert_problem(reply, 500)
    assert "secret" not in reply.text
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidInput, 422), (errors.NotFound, 404), (errors.Conflict, 409), (errors.TooLarge, 413),
        (errors.UnsupportedFormat, 415), (errors.Unreadable, 422), (errors.Unauthenticated, 401),
        (errors.Forbidden, 403), (errors.Overloaded, 503), (errors.StorageFull, 507),
        (errors.ModelDamaged, 500), (errors.FootnoteError, 500), (errors.UpstreamFailed, 502),
    ],
)  # fmt: skip
def test_status_is_the_one_of_the_error_tree(kind: type[errors.FootnoteError], status: int) -> None:
    error = kind("what happened", field="limit", found="0", expected="1", next_step="send 1")
    problem = problem_of(error)
    assert (status_of(error), problem.status, problem.detail) == (status, status, "what happened")
    assert (problem.field, problem.found, problem.expected, problem.next) == ("limit", "0", "1", "send 1")


def test_full_queue_says_when_to_come_back() -> None:
    problem = problem_of(errors.Overloaded("the queue is full", retry_after_s=7))
    assert (problem.status, problem.retry_after_s) == (429, 7)
    assert respond(problem).headers["Retry-After"] == "7"


def test_service_that_stops_promises_no_room_later() -> None:
    problem = problem_of(errors.Overloaded("the service is stopping"))
    assert (problem.status, problem.retry_after_s) == (503, None)
    assert respond(problem).headers["Retry-After"] == "1"
