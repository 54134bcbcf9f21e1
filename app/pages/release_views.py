"""What the pages show of a release."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.pages.training_views import TrainingView
from app.services.release_types import Release, ReleaseState, engine_name

STATES = {
    ReleaseState.BUILDING: "being made",
    ReleaseState.READY: "ready",
    ReleaseState.FAILED: "failed",
    ReleaseState.SERVING: "in service",
    ReleaseState.PREVIOUS: "previous",
    ReleaseState.RETIRED: "retired",
}


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release. verified: what its verification measured, empty before; training: that made its encoder."""

    number: int
    state: str
    state_label: str
    encoder: str | None
    model_id: str | None
    chunk_max_tokens: int
    chunk_overlap_tokens: int
    verified: Mapping[str, Any]
    created_at: datetime
    promoted_at: datetime | None
    engine: str
    training: TrainingView | None

    @property
    def serving(self) -> bool:
        """Whether it answers now."""
        return self.state == ReleaseState.SERVING

    @property
    def can_promote(self) -> bool:
        """Whether it may be put in service; the previous one comes back by a rollback."""
        return self.state == ReleaseState.READY

    @property
    def reasons(self) -> Sequence[str]:
        """Why it may not serve; empty when it may."""
        found: Sequence[str] = self.verified.get("reasons", ())
        return found


def show_releases(
    releases: Iterable[Release], trainings: Iterable[TrainingView] = ()
) -> tuple[ReleaseView, ...]:
    """The releases in their order, each with the training that made it."""
    made = {training.release: training for training in trainings if training.release is not None}
    return tuple(_view(release, made.get(release.number)) for release in releases)


def previous_of(releases: Iterable[ReleaseView]) -> ReleaseView | None:
    """The release that a rollback puts in service; None when there is none."""
    return next((each for each in releases if each.state == ReleaseState.PREVIOUS), None)


def prunable(releases: Iterable[ReleaseView]) -> int:
    """How many releases may hold what nobody needs."""
    needless = {ReleaseState.RETIRED, ReleaseState.FAILED}
    return sum(each.state in needless for each in releases)


def _view(release: Release, training: TrainingView | None) -> ReleaseView:
    return ReleaseView(
        number=release.number,
        state=release.state.value,
        state_label=STATES[release.state],
        encoder=release.encoder,
        model_id=release.model_id,
        chunk_max_tokens=release.chunk_max_tokens,
        chunk_overlap_tokens=release.chunk_overlap_tokens,
        verified=release.report or {},
        created_at=release.created_at,
        promoted_at=release.promoted_at,
        engine=engine_name(release),
        training=training,
    )
