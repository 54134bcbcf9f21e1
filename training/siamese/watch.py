"""How a training is followed from outside, and what it tells at its end."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from training.siamese.progress import Show


@dataclass(frozen=True, slots=True)
class Watch:
    """How a training is followed and ended from outside.

    folder: of the checkpoint (`NAME.checkpoint`) and the loss curve; show: told "steps", done, of how many;
    validate: the metric of the model as it stands, larger is better; seconds_left: asked after each step; the
    schedule is shortened to them, and at 0 the training ends as if it were done; cancelled: asked several
    times a second, ends it with RunCancelled once a checkpoint is written.
    """

    folder: Path
    show: Show = lambda _what, _done, _total: None
    validate: Callable[[SentenceTransformer], float] | None = None
    seconds_left: Callable[[], float] = lambda: math.inf
    cancelled: Callable[[], bool] = lambda: False
    name: str = "train"


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a training did. metrics: (step, validation metric) in order, step 0 being the start.

    precision: that was used, fp32 where the processor has no bf16; best_step: whose weights the model has
    now, 0: those it came with; epochs: passes over the examples so far; tokens: learned from, with
    repetitions; ended: "done", "no gain" (no evaluation was better for as long as the patience lasts) or "out
    of time".
    """

    objective: str
    why: str
    precision: str
    steps: int
    planned_steps: int
    examples: int
    epochs: float
    seconds: float
    tokens: int
    first_loss: float | None
    last_loss: float | None
    best_step: int
    metrics: tuple[tuple[int, float], ...]
    ended: str
