"""`footnote serve`: the service with its guide."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import EXIT_INTERRUPTED, describe
from app.cli.session import run_with_database
from app.security import is_loopback
from embeddings.errors import FootnoteError, InvalidInput

if TYPE_CHECKING:
    from app.resources import Resources
    from app.settings import Settings

BACKLOG = 2048  # connections that wait to be accepted; uvicorn's own default


@dataclass(frozen=True, slots=True)
class Startup:
    """What the opening of the service has to know. address: as people type it; began: time.perf_counter()."""

    settings: "Settings"
    with_guide: bool
    address: str
    began: float


def serve(
    no_guide: Annotated[bool, typer.Option("--no-guide", help="Do not load the collection guide.")] = False,
) -> None:
    """Serve the API, with this project's guide as the collection `guide`, until Ctrl-C."""
    from app.jobs.supervisor import check_workers
    from app.settings import load_settings
    from app.telemetry.logs import configure_logging

    began = time.perf_counter()
    settings = load_settings()
    check_workers(settings)
    configure_logging(settings)
    _require_key(settings.host)
    listener = _listen(settings.host, settings.port)
    startup = Startup(settings, not no_guide, _address(settings.host, listener), began)
    try:
        _run(startup, listener)
    except KeyboardInterrupt:
        typer.echo("Stopped. Everything that was acknowledged is kept.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        listener.close()


def _run(startup: Startup, listener: socket.socket) -> None:
    """Serve until a signal comes. Raises what kept the service from opening."""
    from app.asgi import create_app
    from app.http.serving import GracefulServer

    failures: list[Exception] = []

    def stop(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    application = create_app(startup.settings, partial(_open, startup), stop)
    server = GracefulServer(application, startup.settings)
    server.run(sockets=[listener])
    if failures:
        raise failures[0]


def _require_key(host: str) -> None:
    """Raise InvalidInput where others could reach the service and nobody could open it: no key is in force.

    On loopback the first start makes one; elsewhere its print would lie in a server's log.
    """
    if is_loopback(host):
        return
    from app.services.keys import KeyService

    if run_with_database(lambda database: KeyService(database).any_in_force()):
        return
    raise InvalidInput(
        f"other machines can reach {host}, and there is no key to open the service with",
        field="FOOTNOTE_HOST",
        found=host,
        expected="at least one key in force, or 127.0.0.1",
        next_step="make one first: footnote keys create --name NAME --scope admin",
    )


@asynccontextmanager
async def _open(startup: Startup) -> "AsyncIterator[Resources]":
    """Open the resources, load the guide, tell how to get in and the address; then the service is ready."""
    from app.resources import open_resources

    async with open_resources(startup.settings) as resources:
        greeting = await _greeting(startup, resources)
        if startup.with_guide:
            await _load_guide(resources)
        await resources.warm()
        typer.echo(greeting)
        seconds = time.perf_counter() - startup.began
        typer.echo(f"Footnote is ready at {startup.address} after {seconds:.1f} s; the API is at /schema")
        works = (resources.builder.run, resources.reclaimer.run, resources.query_log.run)
        background = [asyncio.create_task(work()) for work in works]
        try:
            async with _workers(startup.settings.workers):
                yield resources
        finally:
            await _stop(background)


async def _greeting(startup: Startup, resources: "Resources") -> str:
    """How to get in: on loopback the first key, when there was none, and a link to the page."""
    from app.services.types import Scope

    if not is_loopback(startup.settings.host):
        return "To open the page, make a link: footnote keys page-link"
    lines = []
    try:
        if (first := await resources.keys.create_first_admin()) is not None:
            lines.append(f"Admin key, shown this once: {first.token}")
        link = await resources.sessions.make_link([Scope.ADMIN])
        lines.append(f"Open {startup.address}/login?token={link}")
    except FootnoteError as error:  # a full disk keeps nobody from reading
        lines.append(describe(error))
    return "\n".join(lines)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait until they have let go of the database."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _workers(count: int) -> AbstractAsyncContextManager[None]:
    from app.jobs.supervisor import workers_beside

    return workers_beside(count)


async def _load_guide(resources: "Resources") -> None:
    """Load the guide; a failure, such as a full disk, is told and does not keep the service from starting."""
    from app.guide_loader import load_guide

    try:
        await load_guide(resources.collections, resources.documents)
    except FootnoteError as error:
        typer.echo(describe(error), err=True)


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything is loaded, so that a taken port is told at once. Raises FootnoteError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # asyncio sets this only where the protocol was named; without it each kept-alive reply waits 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise FootnoteError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            found=error.strerror,
            expected="a free port on an address of this machine",
            next_step="stop what listens there, or set FOOTNOTE_PORT or FOOTNOTE_HOST",
        ) from error


def _address(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
