"""What the pages show of a training: before and after, per query and over time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.jobs.types import JobInfo
from app.pages.charts import StageCharts, draw_stage
from app.pages.job_views import JobView
from app.services.training_types import TrainingReport
from retrieval.comparison import QueryChange

# The set of the collection's own questions; the others are general ones.
HELD_OUT = "held-out"
# Of a report's counts, by the names of `training.siamese.preparing`.
PARTS = {"train": "for training", "validation": "for validation", "held_out": "held out for the comparison"}
ORIGINS = {
    "uploaded": "from files",
    "feedback": "from feedback",
    "synthetic": "written for passages",
    "passages": "passages searched",
}


@dataclass(frozen=True, slots=True)
class SetView:
    """A set of examples before and after, in points (0 to 100) of `measure`.

    low, high: of the gain, one-sided bounds at the gate's confidence. wins, ties, losses: queries; None for
    scored pairs. won, lost: the queries that changed most, the greatest change first.
    """

    name: str
    measure: str
    examples: int
    passages: int
    old: float
    new: float
    gain: float
    low: float
    high: float
    wins: int | None
    ties: int | None
    losses: int | None
    won: tuple[QueryChange, ...]
    lost: tuple[QueryChange, ...]
    metrics: tuple["MetricView", ...]

    @property
    def held_out(self) -> bool:
        """Whether these are the collection's own questions, and not one of the general sets."""
        return self.name == HELD_OUT


@dataclass(frozen=True, slots=True)
class MetricView:
    """Another measure of a set, 0 to 1, with the 95 % interval of its gain."""

    name: str
    old: float
    new: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TrainingView:
    """A training. better, reasons, sets, models: of its verdict; better is None before there is one.

    examples: of each part, by where they are from, how many there were. rounds: what each round did.
    """

    job: JobView
    dry_run: bool
    promote: str
    better: bool | None
    reasons: tuple[str, ...]
    model: str | None
    release: int | None
    sets: tuple[SetView, ...]
    charts: tuple[StageCharts, ...]
    examples: Mapping[str, Mapping[str, int]]
    rounds: tuple[Mapping[str, Any], ...]
    old_model: str | None
    new_model: str | None
    seconds: float | None
    confidence: float

    @classmethod
    def of(cls, job: JobInfo, told: TrainingReport) -> "TrainingView":
        """The view of a training and of what it has told until now."""
        report: Mapping[str, Any] = told.report or {}
        result, models = job.result or {}, report.get("model_id", {})
        return cls(
            job=JobView.of(job),
            dry_run=bool(job.input.get("dry_run")),
            promote=str(job.input.get("promote", "never")),
            better=report.get("promote"),
            reasons=tuple(result.get("reasons") or report.get("reasons", ())),
            model=result.get("model"),
            release=result.get("release"),
            sets=tuple(_sets(report)),
            charts=tuple(draw_stage(curve) for curve in told.losses),
            examples=_examples(report.get("data", {})),
            rounds=tuple(report.get("training", {}).get("rounds", ())),
            old_model=models.get("old"),
            new_model=models.get("new"),
            seconds=report.get("seconds"),
            confidence=float(told.plan.get("gate", {}).get("confidence", 0.95)),
        )

    @property
    def domain(self) -> SetView | None:
        """The collection's own questions; None before the verdict."""
        return next((each for each in self.sets if each.held_out), None)


def _examples(data: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Counts by the labels of their part and of their origin."""
    return {
        label: {ORIGINS.get(origin, origin): count for origin, count in data[part].items()}
        for part, label in PARTS.items()
        if part in data
    }


def _sets(report: Mapping[str, Any]) -> Iterator[SetView]:
    if "domain" in report:
        yield _set(HELD_OUT, report["domain"])
    for name, judged in report.get("general", {}).items():
        yield _set(name, judged)


def _set(name: str, judged: Mapping[str, Any]) -> SetView:
    changes = [QueryChange(each["query"], each["old"], each["new"]) for each in judged.get("largest", ())]
    return SetView(
        name=name,
        measure=judged["measure"],
        examples=judged["examples"],
        passages=judged["passages"],
        old=judged["old"],
        new=judged["new"],
        gain=judged["gain"],
        low=judged["gain_at_least"],
        high=judged["gain_at_most"],
        wins=judged.get("wins"),
        ties=judged.get("ties"),
        losses=judged.get("losses"),
        won=_largest([each for each in changes if each.gain > 0]),
        lost=_largest([each for each in changes if each.gain < 0]),
        metrics=tuple(_metric(key, value) for key, value in judged.get("metrics", {}).items()),
    )


def _largest(changes: Sequence[QueryChange]) -> tuple[QueryChange, ...]:
    return tuple(sorted(changes, key=lambda each: -abs(each.gain)))


def _metric(name: str, change: Mapping[str, Any]) -> MetricView:
    gain = change["gain"]
    return MetricView(name, change["old"], change["new"], gain["value"], gain["low"], gain["high"])
