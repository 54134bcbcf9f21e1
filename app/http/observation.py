"""The outermost layer of the application: gives each request its id, and watches what becomes of it.

It stands around the routing, so that a request that fits no route is seen as well.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry.context import REQUEST_ID, log_fields, make_request_id
from app.telemetry.metrics import METHODS, UNMATCHED, RequestMetrics
from app.telemetry.notes import Notes, noting
from app.telemetry.tracing import Tracing, WorkSpan
from embeddings.stages import listening

access_log = logging.getLogger("footnote.access")

HEADER = "X-Request-Id"
_HEADER_NAME = HEADER.lower().encode()
_TRACE_HEADERS = (b"traceparent", b"tracestate")
# What a client may choose as an id: it stands in logs and in the reply.
_GIVEN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NANOSECONDS = 1_000_000_000
_MOST_PATH_CHARS = 500
# Every few seconds, with the same answer: heard at the level debug.
_ASKED_BY_MACHINES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})

NotesKeeper = Callable[[Notes, str], None]


class Exchange:
    """One request and its reply. status: None until the reply begins. sent: bytes of its body."""

    def __init__(self, request_id: str, metrics: RequestMetrics, span: WorkSpan | None) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self.sent = 0
        self.span = span
        self._metrics = metrics
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._began

    def hear_stage(self, name: str, began: int, ended: int) -> None:
        """A stage of it has ended."""
        self._metrics.count_stage(name, (ended - began) / _NANOSECONDS)
        if self.span is not None:
            self.span.add_stage(name, began, ended)

    def watching(self, send: Send) -> Send:
        """Look at what goes out, and put the id on it."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                MutableScopeHeaders(message)[HEADER] = self.request_id
            elif message["type"] == "http.response.body":
                self.sent += len(message.get("body", b""))
            await send(message)

        return watched


class Observation:
    """An ASGI application around another.

    keep: is given the notes of each request and its id. tracing: None where nobody collects traces.
    """

    def __init__(
        self,
        application: ASGIApp,
        metrics: RequestMetrics,
        keep: NotesKeeper = lambda _, __: None,
        tracing: Tracing | None = None,
    ) -> None:
        self._application = application
        self._metrics = metrics
        self._keep = keep
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note what became of it."""
        if scope["type"] != ScopeType.HTTP:
            await self._application(scope, receive, send)
            return
        exchange = self._begin(scope)
        with ExitStack() as stack:
            notes = stack.enter_context(noting())
            stack.enter_context(listening(exchange.hear_stage))
            stack.enter_context(log_fields(**_fields(exchange)))
            stack.enter_context(self._metrics.in_flight.track_inprogress())
            try:
                await self._application(scope, receive, exchange.watching(send))
            finally:
                self._end(scope, exchange, notes)

    def _begin(self, scope: Any) -> Exchange:
        given = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id = given.get(_HEADER_NAME, "")
        if not _GIVEN_ID.fullmatch(request_id):
            request_id = make_request_id()
        scope["state"][REQUEST_ID] = request_id
        return Exchange(request_id, self._metrics, self._open_span(scope, given))

    def _open_span(self, scope: Any, given: Mapping[bytes, str]) -> WorkSpan | None:
        if self._tracing is None:
            return None
        known = {name.decode(): given[name] for name in _TRACE_HEADERS if name in given}
        return self._tracing.begin_request(_method(scope), known)

    def _end(self, scope: Any, exchange: Exchange, notes: Notes) -> None:
        method, route = _method(scope), scope.get("path_template") or UNMATCHED
        status = 500 if exchange.status is None else exchange.status
        self._metrics.count_request(method, route, status, exchange.seconds)
        self._metrics.count_notes(notes)
        self._keep(notes, exchange.request_id)
        _log(scope, exchange, route, status)
        if exchange.span is not None:
            about = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
            about |= {"url.path": scope["path"], "footnote.request_id": exchange.request_id}
            exchange.span.end(f"{method} {route}", about, failed=status >= 500)


def _fields(exchange: Exchange) -> dict[str, str]:
    fields = {REQUEST_ID: exchange.request_id}
    if exchange.span is not None:
        fields["trace_id"] = exchange.span.trace_id
    return fields


def _method(scope: Any) -> str:
    return scope["method"] if scope["method"] in METHODS else "OTHER"


def _log(scope: Any, exchange: Exchange, route: str, status: int) -> None:
    """The line of the access log. No query string and no header: either may hold a secret."""
    level = logging.DEBUG if route in _ASKED_BY_MACHINES and status < 400 else logging.INFO
    if not access_log.isEnabledFor(level):
        return
    took_ms = round(exchange.seconds * 1000, 1)
    caller = scope["state"].get("principal")
    fields = {
        "method": _method(scope),
        "path": scope["path"][:_MOST_PATH_CHARS],
        "route": route,
        "status": status,
        "took_ms": took_ms,
        "bytes": exchange.sent,
        "client": (scope.get("client") or (None,))[0],
        "caller": None if caller is None else caller.name,
    }
    access_log.log(level, "%s %s %d", fields["method"], fields["path"], status, extra={"fields": fields})
