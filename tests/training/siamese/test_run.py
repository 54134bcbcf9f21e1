import gzip
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embeddings.artifact import load_manifest
from embeddings.encoder import Encoder
from embeddings.errors import InvalidInput
from tests.training.encoder_fixtures import TEXTS, write_encoder
from training.encoder_card import CARD
from training.siamese import export
from training.siamese.export import export_encoder
from training.siamese.folder import ARTIFACT, CORPUS, DATA, FAILURE, FEEDBACK, REPORT
from training.siamese.plan import Cleaning, Gate, PlannedOptimisation, Synthetic, TrainingPlan, write_plan
from training.siamese.preparing import prepare
from training.siamese.progress import RunCancelled, read_losses, read_progress
from training.siamese.run import MODEL, WRITTEN_ONLY, SiameseRun, main
from training.siamese.types import Origin

QUESTIONS = 60
WRITTEN = Synthetic(sources=("headings", "sentences"), consistent_within=QUESTIONS)
# Random layers of 32 numbers lose more by int8 than trained ones.
LOOSE = export.ParityBounds(lowest_cosine=0.3, mean_cosine=0.5, top10_overlap=0)


@pytest.fixture(scope="module", autouse=True)
def loose_parity() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "BOUNDS", LOOSE)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def in_service(base: Path) -> Path:
    output = base.parent / "artifact"
    export_encoder(base, output, TrainingPlan(name="old"), TEXTS, {})
    return output


def passage(number: int) -> str:
    words = list(itertools.islice(itertools.cycle(" ".join(TEXTS).split()), number, number + 25))
    return f"Passage number {number}. {' '.join(words)}."


def question(number: int) -> str:
    return f"which passage says {' '.join(passage(number).split()[3:9])} {number}"


def make_run(folder: Path, base: Path, in_service: Path, **settings: object) -> SiameseRun:
    plan = TrainingPlan(
        **{
            "name": "new",
            "base": str(base),
            "in_service": str(in_service),
            "optimisation": PlannedOptimisation(
                epochs=2, batch_examples=8, max_tokens=48, evaluations=0, averaged=0.5
            ),
            "cleaning": Cleaning(near_duplicates=1.0),
            "gate": Gate(min_queries=5),
            "folds": 1,
            **settings,
        }
    )
    folder.mkdir(exist_ok=True)
    write_plan(folder, plan)
    return SiameseRun(folder, plan, Encoder.load(in_service, 1))


def give_pairs(folder: Path) -> None:
    rows = ({"query": question(n), "positive": passage(n)} for n in range(QUESTIONS))
    (folder / DATA).mkdir(parents=True)
    (folder / DATA / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def give_documents(folder: Path) -> None:
    rows = ({"_id": f"d{n}#0", "title": f"Title {n}", "text": passage(n)} for n in range(QUESTIONS))
    with gzip.open(folder / CORPUS, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def done(base: Path, in_service: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "done"
    give_pairs(folder)
    make_run(folder, base, in_service).go()
    return folder


def test_pairs_become_an_encoder_that_can_be_served_and_a_verdict(done: Path, in_service: Path) -> None:
    report = json.loads((done / REPORT).read_text())
    new = Encoder.load(done / ARTIFACT)
    assert report["model_id"] == {"old": load_manifest(in_service).model_id, "new": new.model_id}
    assert isinstance(report["promote"], bool)
    assert report["reasons"]
    assert WRITTEN_ONLY not in report["reasons"]
    assert report["domain"]["examples"] == report["data"]["held_out"]["uploaded"]
    assert report["training"]["rounds"][0]["mining"]["negatives"] > 0


def test_few_questions_all_teach_or_judge_and_none_choose_the_weights(done: Path) -> None:
    report = json.loads((done / REPORT).read_text())
    assert report["data"]["validation"] == {"passages": 0}
    assert report["data"]["train"]["uploaded"] + report["data"]["held_out"]["uploaded"] == QUESTIONS


def test_reader_of_the_card_finds_the_figures_before_and_after(done: Path) -> None:
    report, card = json.loads((done / REPORT).read_text()), (done / ARTIFACT / CARD).read_text()
    assert f"{report['domain']['old']:.1f}" in card
    assert f"{report['domain']['new']:.1f}" in card


def test_loss_curve_and_progress_are_told(done: Path) -> None:
    steps = [point["step"] for point in read_losses(done)]
    assert steps == sorted(steps)
    assert len(steps) > 2
    progress = read_progress(done)
    assert progress is not None
    assert progress.stage == "judge"


def test_cancelled_run_goes_on_and_ends_with_the_same_encoder(
    done: Path, base: Path, in_service: Path, tmp_path: Path
) -> None:
    give_pairs(tmp_path / "run")
    run = make_run(tmp_path / "run", base, in_service)
    asked = itertools.count()
    run.cancelled = lambda: (tmp_path / "run/loss.jsonl").exists() and next(asked) > 5
    with pytest.raises(RunCancelled):
        run.go()
    assert not (tmp_path / "run" / MODEL).exists()
    report = make_run(tmp_path / "run", base, in_service).go()
    trained = report["model_id"]["new"]
    assert trained == load_manifest(done / ARTIFACT).model_id
    assert trained.partition("@")[2] != report["model_id"]["old"].partition("@")[2]


def test_finished_stages_are_not_done_again(done: Path, base: Path, in_service: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "run")
    (tmp_path / "run" / REPORT).unlink()
    before = (tmp_path / "run" / ARTIFACT / "model.onnx").stat().st_mtime_ns
    report = make_run(tmp_path / "run", base, in_service).go()
    assert (tmp_path / "run" / ARTIFACT / "model.onnx").stat().st_mtime_ns == before
    assert report["domain"]["new"] == json.loads((done / REPORT).read_text())["domain"]["new"]


@dataclass
class Judged:
    """A cross-validation that was cancelled in its second part and taken up again.

    stages: that were told; kept: when the first part's encoder was written, before and after the cancel.
    """

    folder: Path
    report: dict[str, Any]
    stages: set[str]
    kept: tuple[int, int]


@pytest.fixture(scope="module")
def judged(base: Path, in_service: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("judged")
    give_pairs(folder)
    first, stages = folder / "fold-1" / ARTIFACT / "model.onnx", set[str]()

    def noting(cancelled: Callable[[], bool]) -> SiameseRun:
        def note() -> bool:
            progress = read_progress(folder)
            stages.update([progress.stage] if progress else [])
            return cancelled()

        run = make_run(folder, base, in_service, folds=None)
        run.cancelled = note
        return run

    with pytest.raises(RunCancelled):
        noting((folder / "fold-2").exists).go()
    before = first.stat().st_mtime_ns
    report = noting(lambda: False).go()
    return Judged(folder, report, stages, (before, first.stat().st_mtime_ns))


def test_few_questions_are_all_judged_and_all_teach(judged: Judged) -> None:
    report = judged.report
    assert report["data"]["folds"] == 3
    assert report["data"]["train"]["uploaded"] == report["domain"]["examples"] == QUESTIONS
    assert report["training"]["rounds"][0]["examples"] == QUESTIONS
    assert {"train, part 1 of 4", "train, part 3 of 4", "train"} <= judged.stages
    folds = [judged.folder / f"fold-{number}" / ARTIFACT for number in (1, 2, 3)]
    assert len({load_manifest(fold).model_id for fold in folds} | {report["model_id"]["new"]}) == 4


def test_cancelled_cross_validation_does_not_train_its_parts_again(judged: Judged) -> None:
    before, after = judged.kept
    assert before == after


def test_folds_of_labelled_texts_are_refused_and_not_judged_on_what_they_were_trained_on(
    base: Path, in_service: Path, tmp_path: Path
) -> None:
    rows = ({"text": passage(n), "label": f"label {n % 3}"} for n in range(QUESTIONS))
    (tmp_path / DATA).mkdir()
    (tmp_path / DATA / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = make_run(tmp_path, base, in_service, folds=3)
    with pytest.raises(InvalidInput) as refused:
        run.go()
    assert refused.value.field == "folds"


def test_documents_alone_get_written_queries(base: Path, in_service: Path, tmp_path: Path) -> None:
    give_documents(tmp_path)
    report = make_run(tmp_path, base, in_service, synthetic=WRITTEN).go()
    assert set(report["data"]["train"]) == {"synthetic", "passages"}
    assert report["data"]["held_out"]["synthetic"] > 0
    assert report["reasons"][-1] == WRITTEN_ONLY


def test_what_a_plan_leaves_open_goes_by_who_wrote_the_queries(
    done: Path, base: Path, in_service: Path, tmp_path: Path
) -> None:
    give_documents(tmp_path)
    written = make_run(tmp_path, base, in_service, synthetic=WRITTEN).go()
    labelled = json.loads((done / REPORT).read_text())
    plans = [each["plan"] for each in (labelled, written)]
    assert [plan["negatives"]["count"] for plan in plans] == [1, 0]
    assert [plan["optimisation"]["learning_rate"] for plan in plans] == [2e-5, 5e-5]
    assert [plan["optimisation"]["batch_examples"] for plan in plans] == [8, 8]  # named in the plan
    assert written["training"]["rounds"][0]["mining"]["negatives"] == 0


def test_one_example_among_documents_does_not_stand_in_the_way(
    base: Path, in_service: Path, tmp_path: Path
) -> None:
    give_documents(tmp_path)
    liked = {
        "query": question(3),
        "kind": "accepted",
        "document_id": "d3",
        "passage": passage(3),
        "release": 1,
    }
    (tmp_path / FEEDBACK).write_text(json.dumps(liked))
    run = make_run(tmp_path, base, in_service, synthetic=WRITTEN)
    prepared = prepare(tmp_path, run.plan, run.old.encode, lambda *_: None)
    assert prepared.report["read"]["feedback"] == 1
    assert len({pair.query for pair in prepared.held_out.pairs}) > 1  # all that one example could give
    assert {pair.origin for pair in prepared.train.pairs} >= {Origin.SYNTHETIC}


def test_run_without_anything_to_learn_from_fails_with_what_to_do_next(
    base: Path, in_service: Path, tmp_path: Path
) -> None:
    make_run(tmp_path, base, in_service)
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    failure = json.loads((tmp_path / FAILURE).read_text())
    assert failure["code"] == "invalid_input"
    assert "pairs" in failure["next_step"]
    assert not (tmp_path / REPORT).exists()
