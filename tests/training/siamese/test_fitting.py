import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embeddings.errors import InvalidInput
from tests.training.siamese.model_fixtures import encoder, labelled, pairs, scored, triplets
from training.siamese import fitting
from training.siamese.encoding import encode_with
from training.siamese.fitting import FitReport, Watch, fit
from training.siamese.pace import MIN_STEPS
from training.siamese.plan import Objective, Optimisation
from training.siamese.progress import RunCancelled, read_losses
from training.siamese.types import LabelledText, TrainingData

PAIRS = TrainingData(pairs=pairs(negatives=1))
QUICK = Optimisation(epochs=2, batch_examples=8, learning_rate=1e-3, max_tokens=32, precision="fp32")


def train(
    model: SentenceTransformer, folder: Path, settings: Optimisation = QUICK, **watch: object
) -> FitReport:
    return fit(model, PAIRS, Objective(), settings, Watch(folder, **watch))


def weights(model: SentenceTransformer) -> np.ndarray:
    return torch.cat([each.detach().flatten() for each in model.parameters()]).numpy().copy()


def first_hit(model: SentenceTransformer) -> float:
    """The share of questions whose passage is nearest."""
    encode = encode_with(model, 32)
    found = (
        encode([each.query for each in PAIRS.pairs], "query")
        @ encode([each.positive for each in PAIRS.pairs], "passage").T
    )
    return float((found.argmax(1) == np.arange(len(found))).mean())


def interrupt_after(checks: int) -> Callable[[], bool]:
    left = iter(range(checks))
    return lambda: next(left, None) is None


def test_questions_find_their_passages_after_training(tmp_path: Path) -> None:
    model = encoder()
    before = first_hit(model)
    report = train(model, tmp_path, msgspec.structs.replace(QUICK, epochs=8, precision="bf16"))
    assert first_hit(model) > before + 0.3
    assert report.ended == "done"
    assert report.steps == report.planned_steps == 40
    assert report.last_loss < report.first_loss
    assert report.objective == "MultipleNegativesRanking"
    assert report.why
    assert report.epochs == 8
    assert report.tokens > 40 * 8 * 10


@pytest.mark.parametrize("data", [triplets(), scored()])
def test_default_objective_of_each_shape_lowers_its_loss(data: TrainingData, tmp_path: Path) -> None:
    report = fit(encoder(), data, Objective(), msgspec.structs.replace(QUICK, epochs=8), Watch(tmp_path))
    losses = [line["loss"] for line in read_losses(tmp_path)]
    assert len(losses) == report.steps
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_default_objective_of_labels_draws_texts_of_a_label_together(tmp_path: Path) -> None:
    # Its loss is a mean over the triplets that are still wrong, and so need not fall.
    model, data = encoder(), labelled()
    before = separation(model, data)
    fit(model, data, Objective(), msgspec.structs.replace(QUICK, epochs=8), Watch(tmp_path))
    assert separation(model, data) > before + 0.05


def separation(model: SentenceTransformer, data: TrainingData) -> float:
    """Mean cosine of two texts of a label less that of texts of two labels."""
    vectors = model.encode([each.text for each in data.labelled], normalize_embeddings=True)
    labels = np.array([each.label for each in data.labelled])
    same, cosines = labels[:, None] == labels[None, :], vectors @ vectors.T
    return float(cosines[same & ~np.eye(len(labels), dtype=bool)].mean() - cosines[~same].mean())


@pytest.mark.parametrize("checks", [3, 30, 31, 36, 55])
def test_stopped_anywhere_and_started_again_it_ends_with_the_same_weights(
    checks: int, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(QUICK, accumulation=2)
    whole, stopped = encoder(), encoder()
    expected = train(whole, tmp_path / "whole", settings)
    with pytest.raises(RunCancelled):
        train(stopped, tmp_path / "parts", settings, cancelled=interrupt_after(checks))
    again = encoder()
    report = train(again, tmp_path / "parts", settings)
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert report.steps == expected.steps
    assert report.tokens == expected.tokens
    assert list(read_losses(tmp_path / "parts")) == list(read_losses(tmp_path / "whole"))


def test_killed_between_checkpoints_it_forgets_the_losses_beyond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY_S", 0.0)
    whole, again = encoder(), encoder()
    train(whole, tmp_path / "whole")
    saves = 0
    save = fitting.CheckpointFile.save

    def save_some(self: fitting.CheckpointFile, *content: object) -> None:
        nonlocal saves
        saves += 1
        if saves <= 4:
            save(self, *content)
        if saves == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting.CheckpointFile, "save", save_some)
    with pytest.raises(KeyboardInterrupt):
        train(encoder(), tmp_path / "killed")
    with (tmp_path / "killed" / "loss.jsonl").open("a") as file:
        file.write('{"step": 9')  # half a line, as a kill leaves it
    monkeypatch.setattr(fitting.CheckpointFile, "save", save)
    train(again, tmp_path / "killed")
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert list(read_losses(tmp_path / "killed")) == list(read_losses(tmp_path / "whole"))


def test_killed_before_its_first_checkpoint_it_begins_again(tmp_path: Path) -> None:
    model = encoder()
    with pytest.raises(KeyboardInterrupt):
        train(encoder(), tmp_path, show=interrupting(3))
    assert len(list(read_losses(tmp_path))) > 1
    report = train(model, tmp_path)
    assert [line["step"] for line in read_losses(tmp_path)] == list(range(1, report.steps + 1))


def interrupting(calls: int) -> Callable[[str, int, int], None]:
    left = iter(range(calls))

    def show(_what: str, _done: int, _total: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return show


def test_classes_of_one_text_are_no_data(tmp_path: Path) -> None:
    data = TrainingData(labelled=tuple(LabelledText(pair.query, pair.group) for pair in pairs()))
    with pytest.raises(InvalidInput, match="no two texts of one class"):
        fit(encoder(), data, Objective(name="BatchHardTriplet"), QUICK, Watch(tmp_path))


def test_done_training_is_not_done_again(tmp_path: Path) -> None:
    model, again = encoder(), encoder()
    report = train(model, tmp_path)
    shown: list[int] = []
    assert train(again, tmp_path, show=lambda _what, done, _total: shown.append(done)) == report
    np.testing.assert_array_equal(weights(again), weights(model))
    assert not shown


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(encoder(), tmp_path)
    with pytest.raises(InvalidInput, match="another training"):
        train(encoder(), tmp_path, msgspec.structs.replace(QUICK, seed=8))


def test_best_evaluation_is_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    metrics = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    model, kept = encoder(), []

    def validate(trained: SentenceTransformer) -> float:
        kept.append(weights(trained))
        return next(metrics)

    settings = msgspec.structs.replace(QUICK, epochs=4, evaluations=5, patience=2)
    report = train(model, tmp_path, settings, validate=validate)
    assert report.ended == "no gain"
    assert [metric for _, metric in report.metrics] == [0.1, 0.5, 0.4, 0.3]
    assert report.best_step == report.metrics[1][0] == 4
    assert report.steps == 12 < report.planned_steps
    np.testing.assert_array_equal(weights(model), kept[1])
    told = [line["metric"] for line in read_losses(tmp_path) if "metric" in line]
    assert told == [0.1, 0.5, 0.4, 0.3]


def test_training_that_only_harms_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = encoder()
    before = weights(model)
    falling = iter(range(100, 0, -1))
    report = train(model, tmp_path, validate=lambda _model: float(next(falling)))
    assert report.best_step == 0
    np.testing.assert_array_equal(weights(model), before)


def test_run_out_of_time_ends_with_a_last_evaluation(tmp_path: Path) -> None:
    evaluated: list[float] = []
    shown = [0]
    report = train(
        encoder(),
        tmp_path,
        msgspec.structs.replace(QUICK, evaluations=1),
        validate=lambda _model: evaluated.append(1.0) or float(len(evaluated)),
        show=lambda _what, done, _total: shown.append(done),
        seconds_left=lambda: 0.0 if shown[-1] >= 2 else math.inf,
    )
    assert report.ended == "out of time"
    assert report.steps == 3
    assert report.best_step == 3


def test_schedule_is_shortened_to_the_time_that_is_left(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(QUICK, epochs=40)
    report = train(encoder(), tmp_path, settings, seconds_left=lambda: 1e-9)
    assert report.ended == "done"
    assert report.steps == MIN_STEPS + 1 < report.planned_steps


@pytest.mark.parametrize(("minutes", "evaluations"), [(60, 4), (1.5, 1)])
def test_evaluations_are_fewer_where_they_would_take_much_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, evaluations: int
) -> None:
    now = [0.0]

    def later(seconds: float = 0.01) -> float:
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=later))

    settings = msgspec.structs.replace(QUICK, epochs=4)
    report = train(
        encoder(),
        tmp_path,
        settings,
        validate=lambda _model: later(10),
        seconds_left=lambda: 60 * minutes - now[0],
    )
    assert len(report.metrics) == 1 + evaluations


def test_averaged_weights_lie_between_old_and_new(tmp_path: Path) -> None:
    start, trained, averaged = encoder(), encoder(), encoder()
    train(trained, tmp_path / "trained")
    train(averaged, tmp_path / "averaged", msgspec.structs.replace(QUICK, averaged=0.25))
    expected = 0.75 * weights(start) + 0.25 * weights(trained)
    np.testing.assert_allclose(weights(averaged), expected, atol=1e-6)


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    plain, checkpointed = encoder(), encoder()
    train(plain, tmp_path / "plain")
    train(
        checkpointed, tmp_path / "checkpointed", msgspec.structs.replace(QUICK, gradient_checkpointing=True)
    )
    np.testing.assert_allclose(weights(plain), weights(checkpointed), atol=1e-5)


def test_frozen_weights_stay_and_are_not_written(tmp_path: Path) -> None:
    model = encoder()
    embeddings = model[0].model.embeddings.requires_grad_(requires_grad=False)
    before = embeddings.word_embeddings.weight.detach().clone()
    train(model, tmp_path)
    torch.testing.assert_close(embeddings.word_embeddings.weight.detach(), before)
    saved = torch.load(tmp_path / "train.checkpoint", weights_only=True)
    assert not any("embeddings" in name for name in saved["weights"])


def test_loss_that_is_no_number_is_told_with_what_to_do(tmp_path: Path) -> None:
    model = encoder()
    with torch.no_grad():
        model[0].model.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(InvalidInput, match="loss is nan") as error:
        train(model, tmp_path)
    assert "lower learning rate" in str(error.value.next_step)


def test_next_round_in_the_same_folder_counts_its_steps_on(tmp_path: Path) -> None:
    model = encoder()
    first = train(model, tmp_path)
    train(model, tmp_path, name="second")
    steps = [line["step"] for line in read_losses(tmp_path)]
    assert steps == list(range(1, 2 * first.steps + 1))
    assert {path.name for path in tmp_path.iterdir()} == {
        "train.checkpoint",
        "second.checkpoint",
        "loss.jsonl",
    }


def test_files_are_json_a_line(tmp_path: Path) -> None:
    train(encoder(), tmp_path, msgspec.structs.replace(QUICK, max_steps=2))
    lines = (tmp_path / "loss.jsonl").read_text().splitlines()
    assert [sorted(json.loads(line)) for line in lines] == [["loss", "step"]] * 2
