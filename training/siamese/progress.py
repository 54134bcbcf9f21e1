"""What a training run tells of itself while it goes: two files in its folder. Nothing here needs torch."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from training.siamese.folder import LOSSES, PROGRESS

# Told what is counted, how many are done, and of how many.
Show = Callable[[str, int, int], None]


class RunCancelled(Exception):
    """The run was asked to stop; what it has done is on the disk."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """stage: prepare, pretrain, train, export or judge; done of total in units of `what`; eta_s: seconds."""

    stage: str
    what: str
    done: int
    total: int
    eta_s: float | None = None


class ProgressFile:
    """Writes progress at most twice a second, each time whole."""

    def __init__(self, folder: Path, stage: str, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._path = folder / PROGRESS
        self._stage = stage
        self._cancelled = cancelled
        self._began: tuple[float, int] | None = None
        self._what = ""
        self._written = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        """Tell how far the stage is. Raises RunCancelled when the run shall stop."""
        if self._cancelled():
            raise RunCancelled
        now = time.monotonic()
        if self._began is None or what != self._what:
            self._began, self._what = (now, done), what
        if now - self._written >= 0.5 or done >= total:
            self._written = now
            self._write(RunProgress(self._stage, what, done, total, self._eta_s(now, done, total)))

    def _eta_s(self, now: float, done: int, total: int) -> float | None:
        began, first = self._began or (now, done)
        return round((now - began) / (done - first) * (total - done), 1) if done > first else None

    def _write(self, progress: RunProgress) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(progress)))
        temporary.replace(self._path)


def read_progress(folder: Path) -> RunProgress | None:
    """What the run told last; None before it began."""
    try:
        return RunProgress(**json.loads((folder / PROGRESS).read_text()))
    except FileNotFoundError:
        return None


def read_losses(folder: Path) -> Iterator[dict[str, float]]:
    """The loss curve: step, loss, and where it was measured the validation metric."""
    path = folder / LOSSES
    if path.is_file():
        yield from map(json.loads, path.read_text().splitlines())
