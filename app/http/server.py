"""Runs the application with uvicorn until it is told to stop."""

import socket
from collections.abc import Callable
from functools import partial

import uvicorn

from app.asgi import create_app
from app.http.opening import Opening
from app.resources import open_resources
from app.settings import Settings
from embeddings.errors import Conflict, FootnoteError

# Requests in flight get this long to end after Ctrl-C or SIGTERM, seconds; streams are cut then.
GRACEFUL_SHUTDOWN_S = 10


def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Listen until SIGINT or SIGTERM, then end the requests in flight and close the resources.

    on_ready: called with the service's URL once it can answer.
    Raises Conflict when the port is taken, and whatever kept the resources from opening.
    """
    failures: list[Exception] = []

    def stop(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    with _listen(settings) as listener:
        url = address(settings, listener.getsockname()[1])
        opening = Opening(partial(open_resources, settings), lambda: on_ready(url), stop)
        server = uvicorn.Server(_configure(create_app(settings, opening), settings))
        server.run(sockets=[listener])
    if failures:
        raise failures[0]


def address(settings: Settings, port: int) -> str:
    """The URL of the service."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def _configure(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # Litestar's Scope type is narrower than uvicorn's
        host=settings.host,
        port=settings.port,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Every key and the Host header are checked here; a proxy's word about the client changes nothing.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
    )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise _cannot_listen(settings, error) from error
    return listener


def _cannot_listen(settings: Settings, error: OSError) -> FootnoteError:
    return Conflict(
        f"cannot listen on {settings.host} port {settings.port}: {error.strerror}",
        field="FOOTNOTE_PORT",
        found=str(settings.port),
        expected="a free port on an address of this machine",
        next_step="stop what listens there, or set FOOTNOTE_PORT",
    )
