"""The job that retrains the encoder of a collection, judges it, and makes a release of a better one."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from anyio import to_thread

from app.db.releases import find_served
from app.jobs.attempts import end_item
from app.jobs.context import JobContext
from app.jobs.rows import make_job_id, no_such_job
from app.jobs.service import MAX_PAGE, TRAIN, JobService
from app.jobs.trainer import TRAINER, modules_missing, ray_options, trainer_of
from app.jobs.training_folder import (
    RESULT,
    check_format,
    clear,
    place_files,
    publish,
)
from app.jobs.types import ItemInfo, ItemState, JobInfo, NewJob
from app.jobs.uploads import Upload, remove_uploads
from app.services.release_types import ReindexInput, Release, ReleaseState
from app.services.training import TrainingService
from app.services.training_data import TrainingFiles
from app.services.training_types import Promotion, TrainingInput, TrainingReport
from embeddings.errors import Conflict, NotFound
from training.siamese.folder import ARTIFACT, CORPUS, FEEDBACK, PLAN, REPORT
from training.siamese.plan import TrainingPlan, write_plan

if TYPE_CHECKING:
    from app.resources import Resources

RELEASE = "release.json"


async def submit_training(
    trainings: TrainingService,
    jobs: JobService,
    name: str,
    wanted: TrainingInput,
    uploads: Sequence[Upload] = (),
) -> JobInfo:
    """Ask for a training. uploads: files of examples.

    Raises NotFound for the collection, InvalidInput and UnsupportedFormat for what is wanted, Conflict while
    another training of the collection goes on or where training is not installed, StorageFull.
    """
    for upload in uploads:
        check_format(upload.name)
    _require_packages()
    job_id = make_job_id()
    plan, serving = await trainings.plan(name, wanted, usual_name=f"{name}-{job_id[-8:]}")
    asked = {
        "plan": msgspec.to_builtins(plan),
        "promote": wanted.promote,
        "dry_run": wanted.dry_run,
        "release": serving.number,
    }
    return await jobs.submit_files(job_id, NewJob(TRAIN, name, asked), uploads)


async def training_report(
    trainings: TrainingService, jobs: JobService, name: str, job_id: str
) -> TrainingReport:
    """What a training of the collection has told until now. Raises NotFound."""
    job = await jobs.get(job_id)
    if job.collection != name:  # whose job it is instead is not for everybody to know
        raise no_such_job(job_id)
    if job.kind != TRAIN:
        raise NotFound(
            f"the job {job_id} is no training of {name!r}",
            field="job_id",
            found=job.kind,
            expected=f"a job of the kind {TRAIN}",
            next_step=f"footnote jobs list --kind {TRAIN}",
        )
    return await trainings.report(job_id, plan_of(job.input))


def plan_of(asked: Any) -> TrainingPlan:
    """The plan in a job's input."""
    return msgspec.convert(asked["plan"], TrainingPlan)


async def train_encoder(context: JobContext, module: str = TRAINER) -> dict[str, Any]:
    """Do the work; what lies in the folder of the job is not done again.

    module: what trains. Returns the name of the model, whether the gate lets it pass and why, and the release
    that was made of it. A model that is no better is no failure of the job. Raises NotFound when the
    collection is gone, StorageFull, and what the training says of its failure.
    """
    folder = context.resources.training.folder(context.job_id)
    if (folder / RESULT).is_file():
        return await _clear_away(context, folder)
    if not (folder / PLAN).is_file():
        await _prepare(context, folder)
    if not (folder / REPORT).is_file():
        settings = context.resources.settings
        trainer = trainer_of(
            settings.home,
            settings.threads_for_training,
            settings.training_memory_mb,
            module,
            ray_options(settings.ray_address, settings.ray_training_workers),
        )
        await trainer.run(folder, partial(_show, context))
    _write(folder / RESULT, await _put_to_use(context, folder, _read(folder / REPORT)))
    return await _clear_away(context, folder)


async def _prepare(context: JobContext, folder: Path) -> None:
    """Write the files that the training reads, its plan as the last of them."""
    resources, name = context.resources, context.collection or ""
    async with resources.database.read() as connection:
        collection, serving = await find_served(connection, name)
    await to_thread.run_sync(partial(folder.mkdir, mode=0o700, parents=True, exist_ok=True))
    await _place_uploads(context, folder)
    files = TrainingFiles(resources.database, resources.encoders)
    documents = (await resources.collections.get(name)).documents
    show = partial(_show, context)
    await files.write_corpus(folder / CORPUS, serving, show, documents)
    await files.write_feedback(folder / FEEDBACK, collection, serving)
    temporary = folder / f".{PLAN}"
    temporary.mkdir(exist_ok=True)
    write_plan(temporary, plan_of(context.input))
    (temporary / PLAN).replace(folder / PLAN)
    temporary.rmdir()


async def _place_uploads(context: JobContext, folder: Path) -> None:
    resources, items = context.resources, await _all_items(context.resources.jobs, context.job_id)
    await to_thread.run_sync(place_files, resources.settings.home, context.job_id, folder, items)
    async with resources.database.write() as connection:
        for item in items:
            await end_item(connection, context.job_id, item.ordinal, {"state": ItemState.DONE})


async def _all_items(jobs: JobService, job_id: str) -> list[ItemInfo]:
    page = await jobs.items(job_id, limit=MAX_PAGE)
    items = list(page.items)
    while page.next is not None:
        page = await jobs.items(job_id, limit=MAX_PAGE, after=page.next)
        items += page.items
    return items


async def _put_to_use(context: JobContext, folder: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Make a model and a release of what was trained, if it is better and this is no trial."""
    reasons = list(report["reasons"])
    result = {"better": report["promote"], "reasons": reasons, "artifact": None}
    nothing: dict[str, Any] = {"model": None, "release": None, "state": None}
    if context.input["dry_run"] or not report["promote"]:
        return result | nothing | {"artifact": str(folder / ARTIFACT)}
    name = await _publish(context, folder)
    release = await _make_release(context, folder, name, reasons)
    return result | {"model": name, "release": release.number, "state": release.state}


async def _publish(context: JobContext, folder: Path) -> str:
    home, wanted = context.resources.settings.home, plan_of(context.input).name
    if (folder / RELEASE).is_file():
        return str(_read(folder / RELEASE)["model"])
    return await to_thread.run_sync(publish, home, folder, wanted, f"{wanted}-{context.job_id[-8:]}")


async def _make_release(context: JobContext, folder: Path, model: str, reasons: list[str]) -> Release:
    """The release of the model, in service when it may go there by itself. reasons: why it does not."""
    name, releases, show = context.collection or "", context.resources.releases, partial(_show, context)
    if (folder / RELEASE).is_file():
        release = await releases.get(name, _read(folder / RELEASE)["number"])
    else:
        release = await releases.begin(name, ReindexInput(encoder=model))
        _write(folder / RELEASE, {"model": model, "number": release.number})
    if release.state in (ReleaseState.BUILDING, ReleaseState.READY):
        release = await releases.build(name, release.number, show)
    if context.input["promote"] != Promotion.GATE or release.state != ReleaseState.READY:
        return release
    if await _serving(context.resources, name) != context.input["release"]:
        reasons.append("another release came into service meanwhile; this one was not compared with it")
        return release
    return await releases.promote(name, release.number, show)


async def _clear_away(context: JobContext, folder: Path) -> dict[str, Any]:
    """Remove what nobody needs any more; returns the result."""
    result = _read(folder / RESULT)
    await to_thread.run_sync(remove_uploads, context.resources.settings.home, context.job_id)
    await to_thread.run_sync(clear, folder, result["artifact"] is not None)
    return result


async def _serving(resources: "Resources", name: str) -> int:
    async with resources.database.read() as connection:
        return (await find_served(connection, name))[1].number


def _show(context: JobContext, what: str, done: int, total: int) -> None:
    context.progress(done, total, what)


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _write(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def _require_packages() -> None:
    if missing := modules_missing():
        raise Conflict(
            "training needs packages that are not installed",
            field="training",
            found="no " + ", ".join(missing),
            expected="the extra `train`",
            next_step="make setup-dev, or pip install 'footnote[train]'",
        )
