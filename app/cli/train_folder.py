"""A training on files alone: in a folder, by a process of its own, without a job."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from app.cli.output import print_json
from app.cli.progress import progress_bar
from embeddings.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from training.siamese.plan import TrainingPlan


def train_in_folder(
    name: str | None, overrides: dict[str, Any], ray: str | None, ray_workers: int, as_json: bool
) -> None:
    """Train below the data folder, show what came of it, and leave the model there."""
    from app.cli.models import require_torch
    from app.cli.train_report import print_report
    from app.jobs.trainer import ray_options
    from app.services.training import TRAININGS
    from app.services.training_plan import make_plan
    from app.settings import load_settings
    from training.siamese.folder import REPORT

    require_torch("training an encoder")
    if name is None:
        raise InvalidInput(
            "the new model needs a name", field="--name", found="nothing", expected="a name for it"
        )
    settings = load_settings()
    plan = make_plan(settings, settings.encoder.resolve(), name, overrides)
    folder = settings.home / TRAININGS / name
    _begin(folder, plan)
    code = _run(folder, ray_options(ray, ray_workers), as_json)
    if code:
        raise typer.Exit(code)
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    if as_json:
        print_json({"folder": str(folder), **report})
        return
    print_report(report)
    typer.echo(f"To use it: footnote reindex COLLECTION --encoder {folder / 'artifact'}")


def _begin(folder: Path, plan: "TrainingPlan") -> None:
    """Make the folder; one that is there is gone on with when its plan is the same."""
    from training.siamese.folder import PLAN
    from training.siamese.plan import read_plan, write_plan

    if not (folder / PLAN).is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_plan(folder, plan)
    elif read_plan(folder) != plan:
        raise Conflict(
            f"another training lies in {folder}",
            field="--name",
            found="another plan",
            expected="the same plan, to go on with it, or a new name",
            next_step="choose another --name, or remove that folder",
        )


def _run(folder: Path, options: Sequence[str], hidden: bool) -> int:
    """Train; returns the exit status. What fails is told on stderr by the training itself."""
    import subprocess
    import sys

    from app.jobs.trainer import TRAINER
    from training.siamese.progress import read_progress

    command = [sys.executable, "-m", TRAINER, str(folder), *options]
    with progress_bar(hidden) as show, subprocess.Popen(command) as child:  # noqa: S603 - our own module
        code: int | None = None
        while code is None:
            try:
                code = child.wait(0.5)
            except subprocess.TimeoutExpired:
                if (progress := read_progress(folder)) is not None:
                    show(f"{progress.what} ({progress.stage})", progress.done, progress.total)
            except KeyboardInterrupt:  # the terminal has told the child too: it keeps what it has
                code = child.wait()
    return code if code >= 0 else 128 - code
