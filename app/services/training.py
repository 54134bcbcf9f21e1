"""Trainings: planned, and their reports read. The job does the work; see app/jobs/training.py."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from anyio import to_thread

from app.db.engine import Database
from app.db.releases import find_served
from app.encoders import MODELS
from app.services.release_types import Release
from app.services.training_plan import encoder_folder, make_plan
from app.services.training_types import LossCurve, TrainingInput, TrainingReport
from app.settings import Settings
from embeddings.errors import Conflict, InvalidInput
from training.siamese.folder import LOSSES, REPORT
from training.siamese.plan import TrainingPlan
from training.siamese.progress import read_losses

TRAININGS = "training"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class TrainingService:
    """Plans trainings of the encoder of a collection."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def plan(self, name: str, wanted: TrainingInput, usual_name: str) -> tuple[TrainingPlan, Release]:
        """The plan for what is wanted, and the release that the new encoder is to be better than.

        usual_name: of the model, unless another is wanted. Raises NotFound for the collection, InvalidInput
        for the plan, Conflict when there is a model of this name.
        """
        async with self._database.read() as connection:
            _, serving = await find_served(connection, name)
        model = self._checked_name(str(wanted.name or wanted.plan.get("name") or usual_name))
        folder = encoder_folder(self._settings, serving)
        plan = await to_thread.run_sync(make_plan, self._settings, folder, model, wanted.plan)
        return plan, serving

    async def report(self, job_id: str, plan: TrainingPlan) -> TrainingReport:
        """What a training has told of itself until now."""
        return await to_thread.run_sync(_read, self.folder(job_id), plan)

    def folder(self, job_id: str) -> Path:
        """Where a training works."""
        return self._settings.home / TRAININGS / job_id

    def _checked_name(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            expected = "1 to 100 of A-Z a-z 0-9 . _ - that start with a letter or digit"
            raise InvalidInput(
                f"the name of a model has {expected}", field="name", found=repr(name[:120]), expected=expected
            )
        if (self._settings.home / MODELS / name).exists():
            raise Conflict(
                f"there is a model {name} already",
                field="name",
                found=name,
                expected="a new name",
                next_step="choose another name: models are never replaced",
            )
        return name


def _read(folder: Path, plan: TrainingPlan) -> TrainingReport:
    report: dict[str, Any] | None = None
    if (folder / REPORT).is_file():
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return TrainingReport(msgspec.to_builtins(plan), tuple(_curves(folder)), report)


def _curves(folder: Path) -> Iterator[LossCurve]:
    """Of each stage that has a folder of its own, in the order of their beginning."""
    found = sorted(folder.glob(f"**/{LOSSES}"), key=lambda path: path.stat().st_ctime_ns)
    for path in found:
        stage = path.parent.relative_to(folder).as_posix()
        yield LossCurve("train" if stage == "." else stage, tuple(read_losses(path.parent)))
