"""Classifiers from a few examples, on an encoder of random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from embeddings.classifier import CLASSIFIER, Classifier, read_manifest
from embeddings.errors import Conflict, InvalidInput
from embeddings.vectors import unit_rows
from tests.training.encoder_fixtures import write_encoder
from training.siamese import classification
from training.siamese.classification import (
    ClassifierPlan,
    draw_shots,
    main,
    objective_for,
    train_classifier,
    without_repeats,
)
from training.siamese.classifier_head import REGULARISATION, fit_head, measure_head, wilson_interval
from training.siamese.types import LabelledText

WATER = ("water boils", "the water is cold", "rain water", "a river of water", "deep water", "clear water")
TRAIN = ("the train is late", "a train ticket", "night train", "the train leaves", "fast train", "train stop")
TEXTS = tuple(
    LabelledText(text, label) for label, texts in (("water", WATER), ("train", TRAIN)) for text in texts
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a classifier that was trained on four texts of each label."""
    models = tmp_path_factory.mktemp("models")
    plan = ClassifierPlan("topics", models, shots=4, base=base, iterations=40, learning_rate=1e-3)
    train_classifier(plan, TEXTS)
    return models / "topics"


def test_a_trained_classifier_serves_what_it_was_measured_with(trained: Path) -> None:
    classifier = Classifier.load(trained)
    assert classifier.manifest.labels == ("train", "water")
    found = classifier.probabilities([each.text for each in TEXTS])
    chosen = [classifier.head.labels[place] for place in found.argmax(axis=1)]
    right = [one == each.label for one, each in zip(chosen, TEXTS, strict=True)]
    assert np.mean(right) >= 0.75
    assert classifier.manifest.figures["texts"] == 4


def test_its_manifest_and_card_tell_how_it_was_made(trained: Path) -> None:
    manifest = read_manifest(trained)
    assert manifest.training["shots"] == 4
    assert manifest.training["encoder"]["objective"] == "CosineSimilarity"
    assert {"accuracy", "low", "high", "bundled_encoder"} <= set(manifest.figures)
    card = (trained / "README.md").read_text()
    assert "CosineSimilarity" in card
    assert "bundled encoder, centroids" in card


def test_a_frozen_classifier_keeps_the_bundled_encoder(tmp_path: Path) -> None:
    manifest = train_classifier(ClassifierPlan("plain", tmp_path, frozen=True), TEXTS)
    assert manifest.figures == {}
    assert manifest.encoder.startswith("all-MiniLM-L6-v2@")
    classifier = Classifier.load(tmp_path / "plain")
    row = classifier.probabilities(["warm water"])[0]
    assert classifier.head.labels[row.argmax()] == "water"


def test_a_name_that_is_taken_is_refused_before_the_work(trained: Path) -> None:
    with pytest.raises(Conflict):
        train_classifier(ClassifierPlan("topics", trained.parent), TEXTS)


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        train_classifier(ClassifierPlan(name, tmp_path / "models"), TEXTS)


def test_texts_of_one_label_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        train_classifier(ClassifierPlan("x", tmp_path, frozen=True), TEXTS[: len(WATER)])
    assert list(tmp_path.iterdir()) == []


def test_shots_are_drawn_from_each_label_and_the_rest_is_left() -> None:
    drawn, rest = draw_shots(TEXTS, 2, seed=1)
    assert sorted(each.label for each in drawn) == ["train", "train", "water", "water"]
    assert {*drawn, *rest} == set(TEXTS)
    assert len(rest) == len(TEXTS) - 4
    assert draw_shots(TEXTS, 2, seed=1)[0] == drawn != draw_shots(TEXTS, 2, seed=2)[0]


def test_more_shots_than_examples_are_refused() -> None:
    with pytest.raises(InvalidInput) as error:
        draw_shots(TEXTS, 7, seed=1)
    assert error.value.found == "6"


def test_a_repeated_text_keeps_its_first_label() -> None:
    given = [LabelledText("a", "x"), LabelledText("b", "y"), LabelledText("a ", "y")]
    assert sorted((each.text, each.label) for each in without_repeats(given)) == [("a", "x"), ("b", "y")]


def test_many_labels_are_compared_all_at_once() -> None:
    many = [LabelledText(str(place), str(place)) for place in range(classification.MANY_LABELS)]
    assert objective_for("auto", many) == "MultipleNegativesRanking"
    assert objective_for("auto", many[1:]) == "CosineSimilarity"
    assert objective_for("BatchAllTriplet", many) == "BatchAllTriplet"


@pytest.mark.parametrize("count", [2, 3])
def test_the_head_has_the_probabilities_of_scikit_learn(count: int) -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(30, 5)).astype(np.float32))
    labels = [f"label{place % count}" for place in range(30)]
    expected = LogisticRegression(C=REGULARISATION, max_iter=1000).fit(vectors, labels).predict_proba(vectors)
    np.testing.assert_allclose(fit_head(vectors, labels).probabilities(vectors), expected, atol=1e-5)


def test_an_unknown_label_counts_as_wrong() -> None:
    head = fit_head(np.eye(2, dtype=np.float32), ["a", "b"])
    found = measure_head(head, np.eye(2, dtype=np.float32)[[0, 0, 1, 1]], ["a", "a", "b", "c"])
    assert (found.texts, found.accuracy) == (4, 0.75)
    assert found.low < 0.75 < found.high


def test_the_interval_is_wilsons() -> None:
    expected = binomtest(8, 10).proportion_ci(method="wilson")
    assert wilson_interval(8, 10) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_command_makes_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text("\n".join(json.dumps({"text": each.text, "label": each.label}) for each in TEXTS))
    words = ["--data", str(data), "--name", "topics", "--models", str(tmp_path / "models"), "--frozen"]
    assert main([*words, "--shots", "3"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert (tmp_path / "models" / "topics" / CLASSIFIER).is_file()
    assert main(words) == 1
    assert "cannot write" in capsys.readouterr().err


def test_pairs_are_no_texts_with_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "pairs.csv"
    data.write_text("query,positive\nwhat boils,water does\n")
    assert main(["--data", str(data), "--name", "x", "--models", str(tmp_path)]) == 1
    assert "texts with labels" in capsys.readouterr().err
