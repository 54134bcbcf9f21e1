"""`footnote worker`: the process that does the jobs."""

from typing import Annotated

import typer


def worker(
    child: Annotated[
        bool, typer.Option("--child", help="End when standard input ends; `footnote serve` uses this.")
    ] = False,
) -> None:
    """Do jobs until Ctrl-C. `footnote serve` starts a worker by itself unless FOOTNOTE_WORKERS is 0."""
    from app.jobs.worker import run_worker
    from app.settings import load_settings
    from app.telemetry.logs import configure_logging

    settings = load_settings()
    configure_logging(settings)
    if not child:
        typer.echo("The worker does jobs until Ctrl-C; what it leaves unfinished goes on with the next one.")
    run_worker(settings, child=child)
