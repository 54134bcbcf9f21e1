"""What all log lines of one piece of work tell: the id of its request, or of its job.

It belongs to a context, so tasks and threads that are given the context have it, and no other.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

REQUEST_ID = "request_id"

_NOTHING: Mapping[str, str] = MappingProxyType({})
_fields: ContextVar[Mapping[str, str]] = ContextVar("footnote_log_fields", default=_NOTHING)


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Add fields to every log line of this context, until the block ends."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def current_fields() -> Mapping[str, str]:
    """The fields of this context."""
    return _fields.get()


def request_id() -> str | None:
    """The id of the request that is being answered; None outside one."""
    return _fields.get().get(REQUEST_ID)


def make_request_id() -> str:
    """A new id: 16 hexadecimal digits."""
    return secrets.token_hex(8)
