import logging
from dataclasses import replace
from typing import Any

import pytest

from app.http.problems import problem_of, status_of
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
        (errors.ModelDamaged, 500), (errors.FootnoteError, 500),
    ],
)  # fmt: skip
def test_status_is_the_one_of_the_error_tree(kind: type[errors.FootnoteError], status: int) -> None:
    error = kind("what happened", field="limit", found="0", expected="1", next_step="send 1")
    problem = problem_of(error)
    assert (status_of(error), problem.status, problem.detail) == (status, status, "what happened")
    assert (problem.field, problem.found, problem.expected, problem.next) == ("limit", "0", "1", "send 1")
