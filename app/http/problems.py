"""Failures as problem details (RFC 9457). Everything that goes wrong over HTTP leaves through here.

Litestar's own plugin swaps title and detail, so the mapping is ours.
"""

import logging
from http import HTTPStatus
from typing import Annotated

from litestar import Response
from litestar.openapi import ResponseSpec
from msgspec import Meta, Struct

from app.telemetry.context import request_id
from embeddings.errors import (
    Conflict,
    DeadlineExceeded,
    FootnoteError,
    Forbidden,
    InvalidInput,
    ModelDamaged,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unreadable,
    UnsupportedFormat,
    UpstreamFailed,
)

logger = logging.getLogger("footnote.http")

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
# What clients do wrong and passing overload are theirs to read; a full disk or a damaged model is not.
FOR_THE_OPERATOR = frozenset({500, 502, 507})

_STATUS: dict[type[FootnoteError], int] = {
    InvalidInput: 422,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    UnsupportedFormat: 415,
    Unreadable: 422,
    Unauthenticated: 401,
    Forbidden: 403,
    Overloaded: 503,
    DeadlineExceeded: 504,
    StorageFull: 507,
    UpstreamFailed: 502,
    ModelDamaged: 500,
    FootnoteError: 500,
}


class MalformedBody(InvalidInput):
    """A body that cannot be read at all: not JSON, not UTF-8, or nothing."""

    code = "malformed_body"


class BodyTooSlow(InvalidInput):
    """A body that did not come in time."""

    code = "body_too_slow"


class Problem(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457): what was found, what is expected, what to do next."""

    type: Annotated[
        str, Meta(description="What kind of failure this is", examples=["urn:footnote:invalid_input"])
    ]
    title: Annotated[str, Meta(description="The kind in words", examples=["Invalid input"])]
    status: Annotated[int, Meta(description="The HTTP status again", examples=[422])]
    detail: Annotated[str, Meta(description="What happened this time")]
    field: Annotated[str | None, Meta(description="The field that was wrong", examples=["limit"])] = None
    found: Annotated[str | None, Meta(description="What was sent", examples=["0"])] = None
    expected: Annotated[
        str | None, Meta(description="What is accepted", examples=["a whole number from 1 to 1000"])
    ] = None
    next: Annotated[str | None, Meta(description="What to do")] = None
    retry_after_s: Annotated[
        int | None, Meta(description="Seconds until it is worth trying again, as in the header Retry-After")
    ] = None


def status_of(error: FootnoteError) -> int:
    """The HTTP status of an expected failure."""
    if isinstance(error, MalformedBody):
        return 400
    if isinstance(error, BodyTooSlow):
        return 408
    if retry_after_s_of(error) is not None:
        return 429
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def problem_of(error: FootnoteError) -> Problem:
    """The problem details of an expected failure."""
    return Problem(
        type=f"urn:footnote:{error.code}",
        title=error.code.replace("_", " ").capitalize(),
        status=status_of(error),
        detail=error.message,
        field=error.field,
        found=error.found,
        expected=error.expected,
        next=error.next_step,
        retry_after_s=retry_after_s_of(error),
    )


def retry_after_s_of(error: FootnoteError) -> int | None:
    """When a queue that is full expects to have room; None for other failures."""
    return error.retry_after_s if isinstance(error, Overloaded) else None


def internal_problem() -> Problem:
    """What the outside sees of an unexpected failure: nothing of its inside."""
    return Problem(
        type="urn:footnote:internal",
        title="Internal error",
        status=500,
        detail="Footnote failed in a way it did not expect; the log of the service has the reason",
        next=f"try again; if it stays, report it with {_request_named()}",
    )


def _request_named() -> str:
    known = request_id()
    return "the time and the request" if known is None else f"the id of the request, {known}"


def describe_failure(error: BaseException) -> Problem:
    """Problem details of any failure; one that the operator has to know is logged here, once."""
    if isinstance(error, FootnoteError):
        if status_of(error) in FOR_THE_OPERATOR:
            logger.error("%s: %s", error.code, error.message)
        return problem_of(error)
    logger.error("unexpected failure", exc_info=error)
    return internal_problem()


def respond(problem: Problem, headers: dict[str, str] | None = None) -> Response[Problem]:
    """Answer with a problem."""
    extra = headers_of(problem) | (headers or {})
    return Response(problem, status_code=problem.status, media_type=PROBLEM_MEDIA_TYPE, headers=extra)


def headers_of(problem: Problem) -> dict[str, str]:
    """What a problem says in headers as well, in whatever form its body is."""
    if problem.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if problem.retry_after_s is not None:
        return {"Retry-After": str(problem.retry_after_s)}
    return {"Retry-After": str(RETRY_AFTER_S)} if problem.status == 503 else {}


# Any route can meet a malformed request, a missing key, a body that does not come, a wrong value, a full
# house and a service that is not yet ready.
_EVERYWHERE = (400, 401, 403, 408, 422, 429, 503)


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the failures of a route for OpenAPI. statuses: those beside the ones that every route may
    give.
    """
    return {status: _problem_spec(status) for status in sorted({*_EVERYWHERE, *statuses})}


def _problem_spec(status: int) -> ResponseSpec:
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=HTTPStatus(status).phrase,
        media_type=PROBLEM_MEDIA_TYPE,
    )
