"""`footnote jobs`: list, show, watch, cancel, resume, retry."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.failures import EXIT_FAILURE
from app.cli.output import AsJson, print_fields, print_json, print_table
from app.cli.progress import progress_bar
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from app.http.job_schemas import JobReply
    from app.jobs.service import JobService
    from app.jobs.types import JobInfo, JobState

T = TypeVar("T")

commands = typer.Typer(no_args_is_help=True, help="Long work that a worker process does.")

JobId = Annotated[str, typer.Argument(metavar="ID", help="From `footnote jobs list`.")]


@commands.command("list")
def list_jobs(
    state: Annotated[
        str | None, typer.Option(metavar="queued|running|done|failed|cancelled", help="Only these.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind, such as ingest-files.")] = None,
    collection: Annotated[str | None, typer.Option(help="Only jobs of this collection.")] = None,
    limit: Annotated[int, typer.Option(help="How many, 1 to 1000.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the jobs, newest first."""
    from app.jobs.types import JobFilter

    wanted = JobFilter(None if state is None else _parse_state(state), kind, collection)
    page = _run_with_jobs(lambda jobs: jobs.list(wanted, limit))
    if as_json:
        print_json({"jobs": [_reply(job) for job in page.jobs]})
    elif not page.jobs:
        typer.echo("No jobs.")
    else:
        rows = ((job.id, job.kind, job.collection, job.state, _told(job)) for job in page.jobs)
        print_table(("id", "kind", "collection", "state", "progress"), rows)


@commands.command("show")
def show_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job with the items that failed."""
    from app.jobs.types import ItemState

    async def look(jobs: "JobService") -> None:
        job = await jobs.get(job_id)
        if as_json:
            print_json(_reply(job))
            return
        _print_job(job)
        failed = await jobs.items(job_id, ItemState.ERROR, limit=20)
        for item in failed.items:
            typer.echo(f"  {item.name}: {item.error.message if item.error else ''}")
        if failed.next is not None:
            typer.echo("  ...")

    _run_with_jobs(look)


@commands.command("watch")
def watch_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job to its end; the exit code is 1 unless it was done without an error."""
    from contextlib import aclosing

    from app.jobs.types import JobState

    async def follow(jobs: "JobService") -> "JobInfo":
        with progress_bar(as_json) as show:
            job = await jobs.get(job_id)
            async with aclosing(jobs.follow(job_id)) as looks:
                async for job in looks:
                    show(job.progress.what or job.kind, job.progress.done, job.progress.total or 0)
        return job

    job = _run_with_jobs(follow)
    _print(job, as_json)
    if job.state is not JobState.DONE or job.items.error:
        raise typer.Exit(EXIT_FAILURE)


@commands.command("cancel")
def cancel_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Stop a job; what it has done stays."""
    _print(_run_with_jobs(lambda jobs: jobs.cancel(job_id)), as_json)


@commands.command("resume")
def resume_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Take a cancelled or failed job up again where it stopped."""
    _print(_run_with_jobs(lambda jobs: jobs.resume(job_id)), as_json)


@commands.command("retry")
def retry_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Try the items that failed again, and no others."""
    _print(_run_with_jobs(lambda jobs: jobs.retry(job_id)), as_json)


def _run_with_jobs(work: "Callable[[JobService], Awaitable[T]]") -> T:
    """Open the database alone, which takes no time; the models stay closed."""
    import asyncio

    from app.db.engine import Database
    from app.db.migrations import apply_migrations
    from app.jobs.service import JobService
    from app.settings import load_settings

    async def session() -> T:
        settings = load_settings()
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        apply_migrations(settings.database, settings.busy_timeout_s)
        database = Database(settings.database, settings.busy_timeout_s)
        try:
            return await work(JobService(database, settings))
        finally:
            await database.close()

    return asyncio.run(session())


def _reply(job: "JobInfo") -> "JobReply":
    from app.http.job_schemas import JobReply

    return JobReply.of(job)


def _print(job: "JobInfo", as_json: bool) -> None:
    if as_json:
        print_json(_reply(job))
    else:
        _print_job(job)


def _print_job(job: "JobInfo") -> None:
    counts = job.items
    has_items = counts.pending + counts.done + counts.error > 0
    print_fields(
        [
            ("id", job.id),
            ("kind", job.kind),
            ("collection", job.collection),
            ("state", job.state),
            ("progress", _told(job) or None),
            (
                "items",
                f"{counts.done} done, {counts.error} failed, {counts.pending} left" if has_items else None,
            ),
            ("error", job.error and job.error.message),
            ("next", job.error and job.error.next_step),
            ("created_at", job.created_at.isoformat(timespec="seconds")),
            ("started_at", job.started_at and job.started_at.isoformat(timespec="seconds")),
            ("ended_at", job.ended_at and job.ended_at.isoformat(timespec="seconds")),
        ]
    )


def _told(job: "JobInfo") -> str:
    """How far it is: `12 of 40 files, 30 s left`."""
    progress = job.progress
    if progress.what is None:
        return ""
    of = "" if progress.total is None else f" of {progress.total}"
    left = "" if progress.eta_s is None else f", {progress.eta_s:.0f} s left"
    return f"{progress.done}{of} {progress.what}{left}"


def _parse_state(text: str) -> "JobState":
    from app.jobs.types import JobState

    try:
        return JobState(text)
    except ValueError as error:
        expected = "one of " + ", ".join(JobState)
        raise InvalidInput(
            f"there is no state {text!r}", field="--state", found=text, expected=expected
        ) from error
