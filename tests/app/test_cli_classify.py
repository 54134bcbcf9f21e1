"""`footnote classify`, `cluster`, `duplicates`, and how `train classifier` is started."""

from pathlib import Path

import pytest

from app.cli.train import classifier_arguments
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.classifier import ENCODER, ManifestFields, centroid_head, write_classifier
from embeddings.encoder import Encoder
from tests.app.test_cli import Run, assert_refused, read_json, runner

EXAMPLES = {"garden": ("tomatoes", "leeks and beans"), "snow": ("snow", "ice on the road")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs commands on a data folder with a collection and a classifier."""
    place = tmp_path_factory.mktemp("classify")
    (place / "notes").mkdir()
    for number, text in enumerate(
        ("Tomatoes like sun.", "Beans like sun.", "Snow is cold.", "Snow is cold.")
    ):
        (place / "notes" / f"{number}.txt").write_text(text)
    make_classifier(place / "home" / "models" / "topics")
    run = runner(place / "home")
    assert run("ingest", str(place / "notes"), "--collection", "notes").exit_code == 0
    return run


def make_classifier(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ENCODER).symlink_to(BUNDLED_ENCODER)
    encoder = Encoder.load(BUNDLED_ENCODER)
    texts = [(text, label) for label, own in EXAMPLES.items() for text in own]
    head = centroid_head(encoder.encode([text for text, _ in texts], ""), [label for _, label in texts])
    fields = ManifestFields("topics", "tests", "Apache-2.0", encoder.model_id, "", {})
    write_classifier(folder, head, fields, {"accuracy": 0.5})


def test_texts_get_their_labels(run: Run) -> None:
    found = read_json(run("classify", "topics", "winter and ice", "beans", "--top", "1", "--json"))
    assert [result["labels"][0]["label"] for result in found["results"]] == ["snow", "garden"]
    assert found["model"].startswith("topics@")
    assert "snow" in run("classify", "topics", "winter and ice").stdout


def test_classifiers_are_listed(run: Run) -> None:
    assert "topics" in run("classify").stdout
    assert read_json(run("classify", "--json"))["classifiers"][0]["labels"] == ["garden", "snow"]


def test_without_a_classifier_the_way_to_one_is_told(tmp_path: Path) -> None:
    assert "footnote train classifier" in runner(tmp_path / "home")("classify").stdout


@pytest.mark.parametrize("words", [("nothing", "text"), ("topics",)])
def test_an_unknown_classifier_and_no_text_are_refused(run: Run, words: tuple[str, ...]) -> None:
    assert_refused(run("classify", *words))


def test_documents_are_grouped(run: Run) -> None:
    found = read_json(run("cluster", "notes", "--clusters", "2", "--json"))
    members = [sorted(document["id"] for document in each["documents"]) for each in found["clusters"]]
    assert sorted(members) == [["0.txt", "1.txt"], ["2.txt", "3.txt"]]
    assert "2 clusters" in run("cluster", "notes", "--clusters", "2").stdout


def test_more_clusters_than_documents_are_refused(run: Run) -> None:
    assert_refused(run("cluster", "notes", "--clusters", "5"))


def test_duplicates_are_listed(run: Run) -> None:
    found = read_json(run("duplicates", "notes", "--json"))
    assert found["groups"] == [["2.txt", "3.txt"]]
    assert "same text" in run("duplicates", "notes").stdout


def test_classifiers_go_below_the_data_folder_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path))
    assert classifier_arguments(["--name", "x"]) == ["--name", "x", "--models", str(tmp_path / "models")]
    assert classifier_arguments(["--models=here"]) == ["--models=here"]
