"""A reply that is a failure, as the exception that the service itself raised.

The tree is the one of embeddings/errors.py: `NotFound`, `Conflict`, `Overloaded` and the others, each with
`message`, `field`, `found`, `expected` and `next_step`.
"""

from typing import Any

import httpx
import msgspec

from app.client.job_replies import Job
from app.client.replies import Problem
from embeddings.errors import (
    Conflict,
    DeadlineExceeded,
    FootnoteError,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unreadable,
    UnsupportedFormat,
    UpstreamFailed,
)


class Unreachable(FootnoteError):
    """Nothing answers at the address, or the connection broke."""

    code = "unreachable"


class UnknownReply(FootnoteError):
    """An answer that is none of this service's: of a proxy, or of a service of another version."""

    code = "unknown_reply"


class JobFailed(FootnoteError):
    """A job ended without doing what it was made for. job: as it stood then."""

    code = "job_failed"

    def __init__(self, job: Job) -> None:
        why = f"it was {job.state}" if job.error is None else job.error.detail
        next_step = None if job.error is None else job.error.next
        super().__init__(f"job {job.id} did not finish: {why}", next_step=next_step)
        self.job = job


_BY_STATUS: dict[int, type[FootnoteError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedFormat,
    422: InvalidInput,
    502: UpstreamFailed,
    504: DeadlineExceeded,
    507: StorageFull,
}
_BY_CODE: dict[str, type[FootnoteError]] = {"unreadable": Unreadable}
DEFAULT_RETRY_S = 1


def failure_of(reply: httpx.Response) -> FootnoteError:
    """The exception for a reply with a status of 400 or more, whose body was read."""
    problem = _problem_in(reply)
    error = problem_failure(problem)
    if request_id := reply.headers.get("X-Request-Id"):
        error.add_note(f"request id: {request_id}")
    return error


def problem_failure(problem: Problem) -> FootnoteError:
    """The exception for a problem."""
    told: dict[str, Any] = {
        "field": problem.field,
        "found": problem.found,
        "expected": problem.expected,
        "next_step": problem.next,
    }
    if problem.status in (429, 503):
        return Overloaded(problem.detail, retry_after_s=problem.retry_after_s, **told)
    kind = _BY_CODE.get(problem.type.rpartition(":")[2]) or _BY_STATUS.get(problem.status, FootnoteError)
    return kind(problem.detail, **told)


def retry_after_s(reply: httpx.Response) -> int | None:
    """How many seconds a refused request should wait; None where waiting is of no use."""
    if reply.status_code not in (429, 503):
        return None
    value = reply.headers.get("Retry-After", "")
    return int(value) if value.isdecimal() else DEFAULT_RETRY_S


def unreachable(url: httpx.URL | str, error: httpx.TransportError) -> Unreachable:
    """The exception for a connection that could not be made, or broke."""
    reason = str(error) or type(error).__name__
    next_step = "check that `footnote serve` runs there"
    return Unreachable(f"no answer from {url}: {reason}", found=reason, next_step=next_step)


def unknown_reply(reply: httpx.Response, error: msgspec.MsgspecError) -> UnknownReply:
    """The exception for a reply that cannot be read."""
    asked = f"{reply.request.method} {reply.request.url.path}"
    return UnknownReply(
        f"{asked} answered {reply.status_code} with something else: {error}",
        found=reply.text[:200],
        expected="a reply of Footnote",
        next_step="check the address, and that client and service are of one version",
    )


def _problem_in(reply: httpx.Response) -> Problem:
    """The problem that a body tells; those of other servers' routes have only a message."""
    try:
        body = msgspec.json.decode(reply.content)
        if reply.headers.get("Content-Type", "").startswith("application/problem+json"):
            return msgspec.convert(body, Problem)
        detail = _message_in(body)
    except msgspec.MsgspecError:
        detail = reply.text[:200] or reply.reason_phrase
    return Problem("", reply.reason_phrase, reply.status_code, detail, retry_after_s=retry_after_s(reply))


def _message_in(body: Any) -> str:
    """The words of a failure in the forms of OpenAI, Text Embeddings Inference and Cohere."""
    if not isinstance(body, dict):
        return str(body)[:200]
    error = body.get("error", body.get("message", body))
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
