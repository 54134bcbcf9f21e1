"""Trainings: an encoder retrained on what a collection holds and on what people said about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Promotion(StrEnum):
    """never: a better encoder waits as a release that is ready; gate: it goes into service by itself."""

    NEVER = "never"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class TrainingInput:
    """A training that is wanted.

    name: of the model; None: made of the collection's. plan: what of `training.siamese.plan.TrainingPlan`
    shall not be as usual. dry_run: train and judge, and change nothing.
    """

    name: str | None = None
    promote: Promotion = Promotion.NEVER
    dry_run: bool = False
    plan: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LossCurve:
    """What was measured while one stage trained. points: step, loss, and here and there the metric."""

    stage: str
    points: tuple[Mapping[str, float], ...]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What is known of a training. report: of data, training and judgement; None until it is written."""

    plan: Mapping[str, Any]
    losses: tuple[LossCurve, ...]
    report: Mapping[str, Any] | None
