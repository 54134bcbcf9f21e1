"""What both clients need to know of a connection and of a wait."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, get_args

from app.client.failures import JobFailed
from app.client.job_replies import Job

DEFAULT_URL = "http://127.0.0.1:8000"
# An answer of the bundled decoder takes less than a second; the service's own deadline comes first.
TIMEOUT_S = 120.0
JOB_POLL_S = 0.5
PAGE_ENTRIES = 500


class Page(Protocol):
    """One page of a list. next: `after` of the next one; None on the last."""

    @property
    def next(self) -> str | int | None: ...


PageT = TypeVar("PageT", bound=Page)
MethodT = TypeVar("MethodT", bound=Callable[..., object])


def http_options(url: str, key: str | None, timeout_s: float, deadline_s: float | None) -> dict[str, Any]:
    """Options of the httpx client. A redirect is not followed: it would carry the key elsewhere."""
    headers = {"User-Agent": "footnote-python"}
    if deadline_s is not None:
        headers["X-Request-Timeout-S"] = f"{deadline_s:g}"
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return {"base_url": url, "headers": headers, "timeout": timeout_s}


def shown_as(call: Callable[..., Any], method: MethodT) -> MethodT:
    """The method with name, docstring and parameters of the call that it sends, for help() and editors."""
    functools.update_wrapper(method, call)
    del method.__wrapped__  # type: ignore[attr-defined]  # it has no `self`, and help() would follow it
    signature = inspect.signature(call)
    parameters = [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
        *signature.parameters.values(),
    ]
    reply = get_args(signature.return_annotation)[0]
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=reply
    )
    return method


def finished(job: Job) -> Job:
    """The job, when it is done. Raises JobFailed when it failed or was cancelled."""
    if job.state != "done":
        raise JobFailed(job)
    return job


def still_active(job: Job, timeout_s: float) -> TimeoutError:
    """What to raise when a job takes longer than the caller waits. The job goes on."""
    done = (
        f"{job.progress.done} of {job.progress.total or 'an unknown number'} {job.progress.what or 'steps'}"
    )
    return TimeoutError(f"job {job.id} is {job.state} after {timeout_s:g} s: {done}; it goes on")
