"""`footnote serve`: the service with its guide."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import EXIT_INTERRUPTED, describe
from embeddings.errors import FootnoteError

if TYPE_CHECKING:
    from app.resources import Resources
    from app.settings import Settings

BACKLOG = 2048  # connections that wait to be accepted; uvicorn's own default
GRACEFUL_STOP_S = 5  # longest time that open answers may take after Ctrl-C


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
    import logging

    from app.settings import load_settings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    began = time.perf_counter()
    settings = load_settings()
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
    import uvicorn

    from app.asgi import create_app

    failures: list[Exception] = []

    def stop(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    application = create_app(startup.settings, partial(_open, startup), stop)
    config = uvicorn.Config(
        application, log_config=None, access_log=False, timeout_graceful_shutdown=GRACEFUL_STOP_S
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if failures:
        raise failures[0]


@asynccontextmanager
async def _open(startup: Startup) -> "AsyncIterator[Resources]":
    """Open the resources, make the first key, load the guide, tell the address; then the service is ready."""
    from app.resources import open_resources

    async with open_resources(startup.settings) as resources:
        first_key = await resources.keys.create_first_admin()
        if startup.with_guide:
            await _load_guide(resources)
        await resources.warm()
        if first_key is not None:
            typer.echo(f"Admin key, shown this once: {first_key.token}")
        seconds = time.perf_counter() - startup.began
        typer.echo(f"Footnote is ready at {startup.address} after {seconds:.1f} s; the API is at /schema")
        background = [
            asyncio.create_task(work()) for work in (resources.builder.run, resources.reclaimer.run)
        ]
        try:
            async with _worker(startup.settings.workers):
                yield resources
        finally:
            await _stop(background)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait until they have let go of the database."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _worker(count: int) -> AbstractAsyncContextManager[None]:
    from app.jobs.supervisor import worker_beside

    return nullcontext() if count == 0 else worker_beside()


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
