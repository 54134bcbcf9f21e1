"""A training by several workers of Ray Train, each on processors of its own.

They leave the checkpoint of a training that is done, and the process that asked for it then goes on from
there as after any interruption. A lost machine costs what came after the last checkpoint, at most half a
minute: the workers that are left, or new ones, go on from it, because a step is the same for any number.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from embeddings.distributed.connection import connected, cpus
from embeddings.distributed.version import check_version, version_here
from embeddings.errors import Conflict, FootnoteError
from training.siamese.fitting import Watch, fit
from training.siamese.plan import Objective, Optimisation
from training.siamese.progress import ProgressFile
from training.siamese.team import ProcessTeam
from training.siamese.types import TrainingData

STORAGE = "ray"
# So often is a training begun again after a loss before it counts as failed.
MAX_FAILURES = 8
_HERE = ".here"


@dataclass(frozen=True, slots=True)
class JointTraining:
    """What every worker is given, as `fit` takes it. folder: of the checkpoint, on a disk that all machines
    share; seconds: left for the training.
    """

    model: SentenceTransformer
    data: TrainingData
    objective: Objective
    optimisation: Optimisation
    folder: Path
    name: str
    seconds: float
    validate: Any
    progress: ProgressFile
    version: str


def train_together(
    address: str,
    workers: int,
    model: SentenceTransformer,
    data: TrainingData,
    objective: Objective,
    optimisation: Optimisation,
    watch: Watch,
    progress: ProgressFile,
) -> None:
    """Train by up to so many workers of a cluster; `fit`, called with the same, then finds it done.

    progress: where the workers tell how far they are. Raises FootnoteError when the cluster cannot be used,
    or no worker comes to the end.
    """
    joint = JointTraining(
        model,
        data,
        objective,
        optimisation,
        watch.folder.resolve(),
        watch.name,
        watch.seconds_left(),
        watch.validate,
        progress,
        version_here(),
    )
    joint.folder.mkdir(parents=True, exist_ok=True)
    (joint.folder / _HERE).touch()
    with connected(address):
        _run(joint, workers)


def _run(joint: JointTraining, workers: int) -> None:
    # Ray Train is loaded only here. Its own records of use stay off as Ray's do.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    import ray  # noqa: PLC0415
    from ray.train import FailureConfig, RunConfig, ScalingConfig  # noqa: PLC0415
    from ray.train.torch import TorchConfig, TorchTrainer  # noqa: PLC0415

    processors = max(1, (cpus() - 1) // workers)
    # From one worker on, so that a training goes on with those that a loss leaves.
    scaling: Any = {"num_workers": (1, workers), "resources_per_worker": {"CPU": processors}}
    trainer = TorchTrainer(
        _work,
        train_loop_config={"joint": ray.put(joint), "threads": processors},
        scaling_config=ScalingConfig(**scaling),
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(
            name=joint.name,
            storage_path=str(joint.folder / STORAGE),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # Ray Train has several classes for what ends a training
        raise FootnoteError(
            f"the training on the Ray cluster did not come to its end: {error}",
            field="ray_training_workers",
            found=type(error).__name__,
            expected="workers that share the folder of the training",
            next_step="see Ray's logs; the same command goes on at the last checkpoint",
        ) from error


def _work(settings: dict[str, Any]) -> None:
    """What each worker does."""
    import ray  # noqa: PLC0415

    joint: JointTraining = ray.get(settings["joint"])
    check_version(joint.version)
    _check_shared(joint.folder)
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(joint.optimisation.seed)
    team = ProcessTeam(int(joint.model.get_embedding_dimension() or 0))
    watch = _watch(joint)
    if team.rank == 0:
        watch = replace(watch, show=joint.progress.show)
    try:
        fit(joint.model, joint.data, joint.objective, joint.optimisation, watch, team)
    except FootnoteError:  # of the data or the settings: who asked for the training runs into the same
        return


def _watch(joint: JointTraining) -> Watch:
    end = time.monotonic() + joint.seconds
    return Watch(
        joint.folder,
        validate=joint.validate,
        seconds_left=lambda: end - time.monotonic(),
        name=joint.name,
    )


def _check_shared(folder: Path) -> None:
    if not (folder / _HERE).is_file():
        raise Conflict(
            f"a worker does not see the folder of the training, {folder}",
            field="ray_training_workers",
            found="no such folder on its machine",
            expected="FOOTNOTE_HOME on a disk that all machines of the cluster share",
            next_step="mount it on all of them, or train with FOOTNOTE_RAY_TRAINING_WORKERS=1",
        )
