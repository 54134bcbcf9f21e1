"""A training of a collection's encoder, as a job."""

import json
from typing import TYPE_CHECKING, Any

import typer

from app.cli.failures import EXIT_FAILURE
from app.cli.output import print_json
from app.cli.progress import progress_bar

if TYPE_CHECKING:
    from app.jobs.types import JobInfo
    from app.services.training_types import TrainingInput
    from app.settings import Settings


def train_collection(collection: str, wanted: "TrainingInput", wait: bool, as_json: bool) -> None:
    """Ask for the job, follow it if it is waited for, and show what came of it."""
    import asyncio

    from app.jobs.types import JobState
    from app.settings import load_settings

    settings = load_settings()
    job = asyncio.run(_submit(settings, collection, wanted))
    if wait:
        typer.echo(f"Job {job.id}; Ctrl-C stops watching it, and `footnote jobs cancel` stops it.", err=True)
        job = asyncio.run(_follow(settings, job, as_json))
    _print_job(settings, job, as_json)
    if wait and job.state is not JobState.DONE:
        raise typer.Exit(EXIT_FAILURE)


async def _submit(settings: "Settings", collection: str, wanted: "TrainingInput") -> "JobInfo":
    from app.db.engine import Database
    from app.db.migrations import apply_migrations
    from app.jobs.service import JobService
    from app.jobs.training import submit_training
    from app.services.training import TrainingService

    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    apply_migrations(settings.database, settings.busy_timeout_s)
    database = Database(settings.database, settings.busy_timeout_s)
    try:
        trainings, jobs = TrainingService(database, settings), JobService(database, settings)
        return await submit_training(trainings, jobs, collection, wanted)
    finally:
        await database.close()


async def _follow(settings: "Settings", begun: "JobInfo", as_json: bool) -> "JobInfo":
    """To its end. A worker runs beside this: it waits where another one works, and else does the job."""
    from contextlib import aclosing

    from app.db.engine import Database
    from app.jobs.service import JobService
    from app.jobs.supervisor import worker_beside

    database = Database(settings.database, settings.busy_timeout_s)
    try:
        job = begun
        with progress_bar(as_json) as show:
            async with worker_beside(), aclosing(JobService(database, settings).follow(begun.id)) as looks:
                async for job in looks:
                    show(job.progress.what or job.kind, job.progress.done, job.progress.total or 0)
        return job
    finally:
        await database.close()


def _print_job(settings: "Settings", job: "JobInfo", as_json: bool) -> None:
    from app.cli.train_report import print_report
    from app.http.job_schemas import JobReply
    from app.services.training import TRAININGS
    from training.siamese.folder import REPORT

    if as_json:
        print_json(JobReply.of(job))
        return
    report = settings.home / TRAININGS / job.id / REPORT
    if job.result is not None and report.is_file():
        print_report(json.loads(report.read_text(encoding="utf-8")))
    if job.error is not None:
        typer.echo(f"The job {job.id} failed: {job.error.message}")
    elif job.result is None:
        typer.echo(f"The job {job.id} is {job.state}. Follow it with: footnote jobs watch {job.id}")
    else:
        typer.echo(_outcome(job.collection or "", job.result))


def _outcome(collection: str, result: Any) -> str:
    if result["release"] is None:
        return f"Nothing was changed. The model is in {result['artifact']}"
    told = f"The model {result['model']} is release {result['release']}, which is {result['state']}."
    if result["state"] == "ready":
        told += f" To put it in service: footnote releases promote {collection} {result['release']}"
    return told
