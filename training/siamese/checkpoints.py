"""What a training run leaves on the disk to go on from: whole files, or none."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embeddings.errors import InvalidInput
from training.siamese.folder import LOSSES
from training.siamese.progress import read_losses


@dataclass(slots=True)
class Progress:
    """How far a run is.

    epoch, batch: of the next batch; fitting: steps that there is time for, evaluations: after the first one
    as many as there is time for, both None before that is known; stale: evaluations since the best one.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    fitting: int | None = None
    evaluations: int | None = None
    tokens: int = 0
    seconds: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None
    best_step: int = 0
    best_metric: float | None = None
    stale: int = 0
    logged_before: int = 0
    metrics: list[tuple[int, float]] = field(default_factory=list)
    ended: str | None = None


class CheckpointFile:
    """The checkpoint of a run and the best weights that it names.

    identity: of settings, examples and starting weights; a checkpoint of another one is refused.
    """

    def __init__(self, folder: Path, name: str, identity: str) -> None:
        self._path = folder / f"{name}.checkpoint"
        self._identity = identity
        self._folder = folder
        self._name = name

    def load(self) -> dict[str, Any] | None:
        """What was saved; None before. Raises InvalidInput for a checkpoint of another run."""
        if not self._path.is_file():
            return None
        saved: dict[str, Any] = torch.load(self._path, weights_only=True)
        if saved["identity"] != self._identity:
            raise InvalidInput(
                f"{self._path} is of another training: its data, settings or base model were different",
                field="folder",
                found=str(self._path),
                expected="a checkpoint of the same run",
                next_step="use another folder, or remove the file to train anew",
            )
        return saved

    def save(self, progress: Progress, weights: dict[str, Tensor], optimizer: dict[str, Any] | None) -> None:
        """Write what the run goes on from; best weights that it no longer names are removed."""
        _write(
            self._path,
            {
                "identity": self._identity,
                "progress": asdict(progress),
                "weights": weights,
                "optimizer": optimizer,
            },
        )
        for path in self._folder.glob(f"{self._name}.best-*"):
            if progress.ended or path != self._best(progress.best_step):
                path.unlink()

    def save_best(self, step: int, weights: dict[str, Tensor]) -> None:
        """Keep the best weights; they count once a checkpoint names their step."""
        _write(self._best(step), weights)

    def load_best(self, step: int) -> dict[str, Tensor]:
        """The weights kept at a step."""
        weights: dict[str, Tensor] = torch.load(self._best(step), weights_only=True)
        return weights

    def _best(self, step: int) -> Path:
        return self._folder / f"{self._name}.best-{step}"


class LossCurve:
    """The file of losses: a line a step, appended; `LossCurve.cut` takes back what a kill left too much."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOSSES
        self._folder = folder
        self._last: int | None = None

    @property
    def last_step(self) -> int:
        """The last one told, of an earlier training in the same folder too; 0 without one."""
        return max(0, self._told())

    def _told(self) -> int:
        if self._last is None:
            self._last = max((int(line["step"]) for line in read_losses(self._folder)), default=-1)
        return self._last

    def add(self, step: int, loss: float | None, metric: float | None) -> None:
        """One step; nothing where it was told before or there is nothing to tell."""
        told = {"loss": loss, "metric": metric}
        found = {name: round(value, 6) for name, value in told.items() if value is not None}
        if found and step > self._told():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **found}) + "\n")
            self._last = step

    def cut(self, step: int) -> None:
        """Forget lines of later steps, and half a line at the end."""
        if not self._path.is_file():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.endswith("\n") or json.loads(line)["step"] > step:
                break
            kept.append(line)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self._path)
        self._last = None


def identity_of(parts: Iterable[str], weights: Iterable[Tensor]) -> str:
    """SHA-256 over texts and weights."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    for weight in weights:
        digest.update(weight.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, content: object) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
