"""Trainings, with a process that only counts in place of the one that trains."""

import asyncio
import gzip
import json
import os
import signal
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from app.encoders import LoadedEncoder
from app.jobs.context import JobContext
from app.jobs.training import submit_training, train_encoder, training_report
from app.jobs.training_folder import clear, publish, remove_orphans, training_folders
from app.jobs.types import JobInfo, JobState
from app.jobs.uploads import Upload
from app.resources import Models, Resources
from app.services.feedback_types import FeedbackInput, FeedbackKind
from app.services.release_types import ReindexInput
from app.services.training_types import Promotion, TrainingInput
from app.services.types import CollectionSettings, DocumentInput, SearchInput
from embeddings.errors import Conflict, FootnoteError, InvalidInput, NotFound, UnsupportedFormat
from tests.app.hashing_encoder import HashingEncoder
from tests.app.jobs.conftest import StartWorker
from tests.app.jobs.test_worker import wait_for_state, wait_until

STUB = "tests.app.jobs.stub_trainer"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub waits for nobody, on a machine that may be busy with other tests."""
    monkeypatch.setattr("app.jobs.trainer.NICENESS", 0)


@pytest.fixture
def models(models: Models) -> Models:
    """Any folder holds an encoder of 48 dimensions."""

    def load(folder: Path) -> LoadedEncoder:
        return LoadedEncoder(HashingEncoder(f"{folder.name}@1", dimension=48), models.tokenizer)

    return Models(models.encoder, models.tokenizer, models.answerer, load)


@pytest.fixture
async def notes(resources: Resources) -> str:
    """Two documents, the first with headings and more than one chunk."""
    await resources.collections.create("notes", CollectionSettings(32, 0))
    harbour = (
        "# Ropes\n\n" + "Ropes hold ships. " * 8 + "\n\n# Lamps\n\n" + "Lamps guide ships at night. " * 8
    )
    await resources.documents.add(
        "notes",
        [
            DocumentInput(harbour, "harbour", title="Harbour", media_type="text/markdown"),
            DocumentInput("Tomatoes like the sun.", "tomatoes"),
        ],
    )
    return "notes"


async def submit(resources: Resources, uploads: tuple[Upload, ...] = (), **wanted: Any) -> JobInfo:
    given = TrainingInput(**wanted)
    return await submit_training(resources.training, resources.jobs, "notes", given, uploads)


def context_of(resources: Resources, job: JobInfo) -> JobContext:
    async def run_step(_name: str, work: Any) -> Any:
        return await work()

    return JobContext(resources, job.id, 1, job.collection, job.input, run_step)


async def train(resources: Resources, job: JobInfo) -> dict[str, Any]:
    return await train_encoder(context_of(resources, job), STUB)


def folder_of(resources: Resources, job: JobInfo) -> Path:
    return resources.training.folder(job.id)


def starts(folder: Path) -> list[tuple[int, int]]:
    """Process id and first step of each start of the stub."""
    lines = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    told = [line.split() for line in lines if line.startswith("start ")]
    return [(int(pid), int(first)) for _, pid, first in told]


def is_running(pid: int) -> bool:
    """Whether a process works; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_better_encoder_waits_as_a_release_that_is_ready(resources: Resources, notes: str) -> None:
    job = await submit(resources, name="better")
    result = await train(resources, job)
    assert result == {
        "better": True, "reasons": [], "artifact": None, "model": "better", "release": 2, "state": "ready",
    }  # fmt: skip
    assert (await resources.search.search(notes, SearchInput("ships"))).release == 1
    await resources.releases.promote(notes, 2)
    output = await resources.search.search(notes, SearchInput("ships"))
    assert (output.release, output.hits[0].document_id) == (2, "harbour")
    model = resources.settings.home / "models" / "better"
    assert {path.name for path in model.iterdir()} == {"model.onnx", "manifest.json", "checkpoint"}


async def test_gate_puts_a_better_encoder_in_service_and_keeps_the_old_release(
    resources: Resources, notes: str
) -> None:
    result = await train(resources, await submit(resources, promote=Promotion.GATE))
    assert result["state"] == "serving"
    assert [each.state for each in await resources.releases.list(notes)] == ["serving", "previous"]
    assert (await resources.releases.rollback(notes)).number == 1


@pytest.mark.parametrize(
    "wanted", [{"plan": {"licence": "worse"}, "promote": Promotion.GATE}, {"dry_run": True}], ids=str
)
async def test_worse_encoder_and_a_trial_change_nothing(
    resources: Resources, notes: str, wanted: dict[str, Any]
) -> None:
    job = await submit(resources, **wanted)
    result = await train(resources, job)
    assert (result["model"], result["release"], result["better"]) == (None, None, "dry_run" in wanted)
    assert bool(result["reasons"]) == ("dry_run" not in wanted)
    assert len(await resources.releases.list(notes)) == 1
    assert not (resources.settings.home / "models").exists()
    assert (Path(result["artifact"]) / "manifest.json").is_file()


async def test_release_that_was_not_compared_with_the_present_one_is_not_promoted(
    resources: Resources, notes: str
) -> None:
    job = await submit(resources, promote=Promotion.GATE)
    await resources.releases.reindex(notes, ReindexInput(chunk_max_tokens=16), promote=True)
    result = await train(resources, job)
    assert (result["release"], result["state"]) == (3, "ready")
    assert "another release" in result["reasons"][0]


async def test_corpus_is_what_the_encoder_in_service_reads(
    resources: Resources, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = resources.models.encoder
    assert isinstance(encoder, HashingEncoder)
    job = await submit(resources, plan={"licence": "breaks"})
    with pytest.raises(FootnoteError):
        await train(resources, job)
    with gzip.open(folder_of(resources, job) / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert sorted(f"{row['title']}\n{row['text']}".strip() for row in rows) == sorted(
        text.strip() for text in encoder.encoded
    )
    assert [row["_id"] for row in rows][:2] == ["harbour#0", "harbour#1"]
    assert rows[-1]["_id"] == "tomatoes#0"
    assert {tuple(row["heading_path"]) for row in rows if row["_id"].startswith("harbour")} == {
        ("Ropes",),
        ("Lamps",),
    }


async def test_feedback_is_told_with_the_passage_that_it_was_about(resources: Resources, notes: str) -> None:
    text = (await resources.documents.text(notes, "harbour")).text
    lamps = text.index("Lamps guide")
    for query, document, span in (
        ("light at sea", "harbour", (lamps, lamps + 20)),
        ("guide ships at night", "harbour", None),
        ("sun", "tomatoes", (0, 8)),
        ("moved", "harbour", (0, 5)),
    ):
        start, end = span or (None, None)
        given = FeedbackInput(query, FeedbackKind.ACCEPTED, document, start=start, end=end)
        await resources.feedback.add(notes, given)
    # What was shown of the tomatoes is not there any more; what was shown of the harbour has moved.
    await resources.documents.add(
        notes, [DocumentInput("It rains.", "tomatoes"), DocumentInput("New. " * 40 + text, "harbour")]
    )
    job = await submit(resources, plan={"licence": "breaks"})
    with pytest.raises(FootnoteError):
        await train(resources, job)
    lines = (folder_of(resources, job) / "feedback.jsonl").read_text(encoding="utf-8").splitlines()
    told = {row["query"]: row for row in map(json.loads, lines)}
    assert set(told) == {"light at sea", "guide ships at night", "moved"}
    assert "Lamps guide" in told["light at sea"]["passage"]
    assert "Lamps guide" in told["guide ships at night"]["passage"]
    assert "# Rop" in told["moved"]["passage"]
    assert (told["moved"]["kind"], told["moved"]["document_id"], told["moved"]["release"]) == (
        "accepted", "harbour", 1,
    )  # fmt: skip


async def test_uploaded_examples_lie_in_the_folder_and_go_with_the_texts_at_the_end(
    resources: Resources, notes: str
) -> None:
    uploads = (
        Upload("../pairs of mine.jsonl", BytesIO(b'{"query": "a", "positive": "b"}\n')),
        Upload("b.csv", BytesIO(b"query,positive\n")),
    )
    job = await submit(resources, uploads, plan={"licence": "breaks"})
    with pytest.raises(FootnoteError):
        await train(resources, job)
    folder = folder_of(resources, job)
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["0-pairs_of_mine.jsonl", "1-b.csv"]
    assert (await resources.jobs.get(job.id)).items.done == 2
    (folder / "plan.json").write_text((folder / "plan.json").read_text().replace("breaks", "fine"))
    await train(resources, job)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"plan.json", "report.json", "result.json", "progress.json", "log.txt", "round-1"}
    assert not (resources.settings.home / "uploads" / job.id).exists()


async def test_job_that_is_done_again_repeats_nothing(resources: Resources, notes: str) -> None:
    job = await submit(resources)
    first = await train(resources, job)
    assert await train(resources, job) == first
    assert len(await resources.releases.list(notes)) == 2


async def test_kill_between_release_and_result_makes_no_second_release(
    resources: Resources, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(resources, promote=Promotion.GATE)
    monkeypatch.setattr("app.jobs.training._clear_away", None)
    with pytest.raises(TypeError):
        await train(resources, job)
    (folder_of(resources, job) / "result.json").unlink()
    monkeypatch.undo()
    assert (await train(resources, job))["state"] == "serving"
    assert len(await resources.releases.list(notes)) == 2


async def test_failure_that_the_training_tells_is_that_of_the_job(resources: Resources, notes: str) -> None:
    job = await submit(resources, plan={"licence": "refuses"})
    with pytest.raises(InvalidInput) as caught:
        await train(resources, job)
    assert (caught.value.message, caught.value.field) == ("too few examples", "data")


async def test_failure_without_words_is_told_by_the_last_line_of_the_log(
    resources: Resources, notes: str
) -> None:
    job = await submit(resources, plan={"licence": "breaks"})
    with pytest.raises(FootnoteError) as caught:
        await train(resources, job)
    assert caught.value.found == "exit status 1: RuntimeError: the weights are a poem"


async def test_killed_training_goes_on_where_it_was(resources: Resources, notes: str) -> None:
    job = await submit(resources, plan={"licence": "slow"})
    folder = folder_of(resources, job)
    work = asyncio.create_task(train(resources, job))

    async def has_got_on() -> bool:
        return (folder / "reached").exists()

    await wait_until(has_got_on)
    os.kill(starts(folder)[0][0], signal.SIGKILL)
    assert (await work)["state"] == "ready"
    (_, from_the_start), (_, resumed) = starts(folder)
    assert (from_the_start, resumed > 0) == (0, True)


async def test_training_that_is_killed_again_and_again_fails(resources: Resources, notes: str) -> None:
    job = await submit(resources, plan={"licence": "dies"})
    with pytest.raises(FootnoteError) as caught:
        await train(resources, job)
    assert len(starts(folder_of(resources, job))) == 3
    assert (caught.value.found or "").startswith("signal 9")
    assert "resume the job" in (caught.value.next_step or "")


@pytest.mark.parametrize("licence", ["slow", "deaf"])
async def test_cancelled_training_ends_within_two_seconds_and_goes_on_where_it_was(
    resources: Resources, notes: str, licence: str
) -> None:
    job = await submit(resources, plan={"licence": licence})
    folder = folder_of(resources, job)
    context = context_of(resources, job)
    work = asyncio.create_task(train_encoder(context, STUB))

    async def has_begun() -> bool:
        return (folder / "reached").exists() and context.latest_progress.what == "steps (train)"

    await wait_until(has_begun)
    began = time.monotonic()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert time.monotonic() - began < 2.5  # of a machine that may be busy
    ((pid, _),) = starts(folder)
    assert not is_running(pid)
    reached = int((folder / "reached").read_text())
    (folder / "plan.json").write_text((folder / "plan.json").read_text().replace(licence, "fine"))
    await train(resources, job)
    curve = (await training_report(resources.training, resources.jobs, notes, job.id)).losses[0]
    # What is killed does not get to write its last losses.
    assert [point["step"] for point in curve.points] == list(range(reached if licence == "deaf" else 0, 20))


async def test_training_dies_with_its_worker_and_the_next_one_goes_on(
    resources: Resources, notes: str, start_worker: StartWorker
) -> None:
    job = await submit(resources, plan={"licence": "slow"}, promote=Promotion.GATE)
    folder = folder_of(resources, job)

    async def has_got_on() -> bool:
        return (folder / "reached").exists()

    worker = start_worker()
    await wait_until(has_got_on)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    ((pid, _),) = starts(folder)

    async def has_ended() -> bool:
        return not is_running(pid)

    async with asyncio.timeout(10):
        await wait_until(has_ended)
    assert (await resources.search.search(notes, SearchInput("ships"))).release == 1
    start_worker()
    ended = await wait_for_state(resources, job, JobState.DONE, JobState.FAILED)
    assert [first > 0 for _, first in starts(folder)] == [False, True]
    assert (ended.state, ended.error) == (JobState.DONE, None)
    assert ended.result is not None
    assert ended.result["state"] == "serving"

    async def is_searched() -> bool:
        return (await resources.search.search(notes, SearchInput("ships"))).release == 2

    await wait_until(is_searched)  # what another process puts in service is loaded in the background


async def test_cancel_over_the_worker_ends_the_process(
    resources: Resources, notes: str, start_worker: StartWorker
) -> None:
    job = await submit(resources, plan={"licence": "deaf"})
    folder = folder_of(resources, job)
    start_worker()

    async def has_got_on() -> bool:
        return (folder / "reached").exists()

    await wait_until(has_got_on)
    ((pid, _),) = starts(folder)
    began = time.monotonic()
    await resources.jobs.cancel(job.id)

    async def has_ended() -> bool:
        return not is_running(pid)

    await wait_until(has_ended)
    assert time.monotonic() - began < 4  # 2 of them are the promise; the machine may be busy


async def test_what_cannot_be_trained_is_refused_at_once(resources: Resources, notes: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await submit(resources, plan={"optimisation": {"epoch": 1}})
    assert "epoch" in caught.value.message
    with pytest.raises(InvalidInput) as caught:
        await submit(resources, plan={"sources": ["pairs.jsonl"]})
    assert caught.value.field == "plan.sources"
    with pytest.raises(InvalidInput):
        await submit(resources, plan={"base": "/no/such/folder"})
    with pytest.raises(InvalidInput):
        await submit(resources, plan={"in_service": "/elsewhere"})
    with pytest.raises(InvalidInput):
        await submit(resources, name="../better")
    with pytest.raises(UnsupportedFormat):
        await submit(resources, (Upload("pairs.xlsx", BytesIO(b"")),))
    (resources.settings.home / "models" / "taken").mkdir(parents=True)
    with pytest.raises(Conflict):
        await submit(resources, name="taken")
    assert (await resources.jobs.list()).jobs == ()
    job = await submit(resources)
    with pytest.raises(NotFound):
        await training_report(resources.training, resources.jobs, "others", job.id)


async def test_of_trainings_that_are_asked_for_at_once_one_is_accepted(
    resources: Resources, notes: str
) -> None:
    asked = [submit(resources, (Upload("pairs.jsonl", BytesIO(b"{}")),)) for _ in range(5)]
    replies = await asyncio.gather(*asked, return_exceptions=True)
    (job,) = [reply for reply in replies if isinstance(reply, JobInfo)]
    refusals = [reply for reply in replies if isinstance(reply, Conflict)]
    assert [refusal.found for refusal in refusals] == [f"the job {job.id}"] * 4
    assert [each.id for each in (await resources.jobs.list()).jobs] == [job.id]
    assert [each.name for each in (resources.settings.home / "uploads").iterdir()] == [job.id]


async def test_cancelled_training_waits_for_the_one_that_took_its_place(
    resources: Resources, notes: str
) -> None:
    first = await submit(resources)
    await resources.jobs.cancel(first.id)
    second = await submit(resources)
    with pytest.raises(Conflict) as conflict:
        await resources.jobs.resume(first.id)
    assert second.id in (conflict.value.found or "")
    await resources.jobs.cancel(second.id)
    assert (await resources.jobs.resume(first.id)).state == "queued"


async def test_trained_encoder_is_trained_on_and_a_converted_one_needs_its_original(
    resources: Resources, notes: str, tmp_path: Path
) -> None:
    first = await submit(resources, name="first", promote=Promotion.GATE)
    await train(resources, first)
    await resources.jobs.cancel(first.id)  # nobody has told the table that it is done
    home = resources.settings.home.resolve()
    plan = (await submit(resources, name="second")).input["plan"]
    assert plan["base"] == str(home / "models" / "first" / "checkpoint")
    assert plan["in_service"] == str(home / "models" / "first")
    await resources.jobs.cancel((await resources.jobs.list()).jobs[0].id)
    (home / "models" / "foreign").mkdir()
    await resources.releases.reindex(notes, ReindexInput(encoder="foreign"), promote=True)
    with pytest.raises(InvalidInput) as caught:
        await submit(resources, name="third")
    assert caught.value.field == "plan.base"
    plan = (await submit(resources, name="third", plan={"base": str(tmp_path)})).input["plan"]
    assert plan["base"] == str(tmp_path)


def test_folders_of_trainings_that_nobody_knows_are_removed(tmp_path: Path) -> None:
    known, unknown = "0" * 20, "1" * 20
    for name in (known, unknown, "decoder"):
        (tmp_path / "training" / name).mkdir(parents=True)
    remove_orphans(training_folders(tmp_path), {known})
    assert {path.name for path in (tmp_path / "training").iterdir()} == {known, "decoder"}


def test_another_model_of_the_same_name_stays_as_it_is(tmp_path: Path) -> None:
    from tests.app.jobs.stub_trainer import export  # noqa: PLC0415
    from training.siamese.plan import TrainingPlan  # noqa: PLC0415

    for name in ("one", "two"):
        export(tmp_path / name, TrainingPlan(name=name))
    assert publish(tmp_path, tmp_path / "one", "model", "model-b") == "model"
    assert publish(tmp_path, tmp_path / "one", "model", "model-b") == "model"
    assert publish(tmp_path, tmp_path / "two", "model", "model-b") == "model-b"
    assert (tmp_path / "models" / "model" / "model.onnx").read_text() == "one"
    clear(tmp_path / "one", keep_artifact=False)
    assert list((tmp_path / "one").iterdir()) == []
    assert (tmp_path / "models" / "model" / "model.onnx").read_text() == "one"
