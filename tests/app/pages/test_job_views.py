from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.jobs.kinds import FUNCTIONS
from app.jobs.types import ItemCounts, ItemInfo, ItemState, JobInfo, JobState, Progress
from app.pages.collections import FEEDBACK
from app.pages.document_views import STATUSES
from app.pages.job_views import ITEM_STATES, KINDS, STAGES, STATES, UNITS, ItemView, JobView
from app.pages.release_views import STATES as RELEASE_STATES
from app.pages.training_views import ORIGINS, PARTS
from app.pages.translations import LANGUAGES, translations_of
from embeddings.errors import Unreadable

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
RUNNING = JobInfo(
    id="0" * 20,
    kind="ingest-files",
    collection="notes",
    input={},
    state=JobState.RUNNING,
    attempt=1,
    progress=Progress(199, 200, "files", 3.5),
    items=ItemCounts(pending=1, done=190, error=9),
    result=None,
    error=None,
    created_at=NOON,
    started_at=NOON,
    ended_at=None,
)


def view(job: JobInfo, after_s: float = 10) -> JobView:
    return JobView.of(job, NOON + timedelta(seconds=after_s))


def test_running_job_tells_its_share_its_counts_and_the_time_left() -> None:
    job = view(RUNNING)
    assert (job.progress.percent, job.progress.eta_s, job.duration_s) == (99, 3.5, 10)
    assert (job.items, job.pending, job.done, job.errors) == (200, 1, 190, 9)


def test_share_is_unknown_while_the_total_is() -> None:
    assert view(replace(RUNNING, progress=Progress(5))).progress.percent is None


def test_share_is_never_above_all() -> None:
    assert view(replace(RUNNING, progress=Progress(7, 5, "files"))).progress.percent == 100


def test_ended_job_has_no_time_left_and_its_own_duration() -> None:
    job = view(replace(RUNNING, state=JobState.FAILED, ended_at=NOON + timedelta(seconds=4)), after_s=900)
    assert (job.progress.eta_s, job.duration_s) == (None, 4)


def test_waiting_job_has_no_duration() -> None:
    assert view(replace(RUNNING, state=JobState.QUEUED, started_at=None)).duration_s is None


@pytest.mark.parametrize(
    ("state", "errors", "allowed"),
    [
        (JobState.QUEUED, 0, {"cancel"}),
        (JobState.RUNNING, 3, {"cancel"}),
        (JobState.DONE, 0, set()),
        (JobState.DONE, 3, {"retry"}),
        (JobState.FAILED, 0, {"resume"}),
        (JobState.CANCELLED, 3, {"resume", "retry"}),
    ],
)
def test_job_offers_what_its_state_allows(state: JobState, errors: int, allowed: set[str]) -> None:
    job = view(replace(RUNNING, state=state, items=ItemCounts(error=errors)))
    offered = {"cancel": job.can_cancel, "resume": job.can_resume, "retry": job.can_retry}
    assert {name for name, offers in offered.items() if offers} == allowed


@pytest.mark.parametrize(
    ("what", "unit", "stage"),
    [
        (None, None, None),
        ("files", "files", None),
        ("steps (train)", "steps", "Training"),
        ("held-out, old encoder: passages (judge)", "passages", "Comparing with the encoder in service"),
        ("things (new-stage)", "things (new-stage)", None),
        ("things (later)", "things", "later"),
    ],
)
def test_progress_of_trainings_is_told_by_stage(
    what: str | None, unit: str | None, stage: str | None
) -> None:
    told = view(replace(RUNNING, progress=Progress(1, 2, what))).progress
    assert (told.unit, told.stage) == (unit, stage)


def test_failed_item_keeps_its_reason() -> None:
    error = Unreadable("the file is broken", found="page 3", expected="a whole file", next_step="mend it")
    item = ItemView.of(
        ItemInfo(4, "a.pdf", ItemState.ERROR, {"documents": 0, "chunks": 0, "errors": 1}, error)
    )
    assert item.error is not None
    assert (item.error.found, item.error.next, item.records_failed) == ("page 3", "mend it", 1)


def test_every_kind_and_state_has_a_name() -> None:
    assert set(KINDS) == set(FUNCTIONS)
    assert set(STATES) == set(JobState)
    assert set(ITEM_STATES) == set(ItemState)


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_texts_that_views_choose_are_translated(language: str) -> None:
    translate = translations_of(language).gettext
    texts = [*KINDS.values(), *STATES.values(), *ITEM_STATES.values(), *STAGES.values(), *UNITS]
    texts += [*PARTS.values(), *ORIGINS.values(), *RELEASE_STATES.values(), *STATUSES.values()]
    texts += FEEDBACK.values()
    assert [text for text in texts if translate(text) == text] == []
