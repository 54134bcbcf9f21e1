"""`footnote train encoder`: options into a plan, a folder that is gone on with, a table of the outcome."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program
from app.cli.train_encoder import _overrides
from embeddings.errors import InvalidInput

JUDGED = {
    "measure": "ndcg@10", "examples": 120, "old": 61.25, "new": 65.5, "gain": 4.25, "gain_at_least": 2.51,
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(program, ["train", "encoder", *words])


def test_settings_come_from_the_file_then_from_set_then_from_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.json").write_text('{"optimisation": {"epochs": 5, "seed": 3}, "sources": ["/a"]}')
    (tmp_path / "pairs.jsonl").write_text("")
    given = _overrides(
        tmp_path / "plan.json",
        ["optimisation.epochs=1", "objective.name=CoSENT", "layer_mixing=true"],
        ["pairs.jsonl", "beir:train"],
        Path("base"),
    )
    assert given == {
        "optimisation": {"epochs": 1, "seed": 3},
        "objective": {"name": "CoSENT"},
        "layer_mixing": True,
        "sources": ["/a", str(tmp_path / "pairs.jsonl"), f"{tmp_path / 'beir'}:train"],
        "base": str(tmp_path / "base"),
    }


@pytest.mark.parametrize("text", ["epochs", "=1", "[1"])
def test_setting_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _overrides(None, [text], [], None)
    assert caught.value.field == "--set"


def test_training_without_a_collection_needs_examples_and_a_name(home: Path, tmp_path: Path) -> None:
    assert run().exit_code == 2
    assert run("--data", str(tmp_path), "--promote").exit_code == 2
    refused = run("--data", str(tmp_path))
    assert (refused.exit_code, "--name" in refused.output) == (2, True)


def test_files_alone_are_trained_on_in_a_folder_that_is_gone_on_with(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.trainer.TRAINER", "tests.app.jobs.stub_trainer")
    told: dict[str, Any] = {}
    monkeypatch.setattr("app.cli.train_folder.print_json", told.update)
    words = ("--data", str(tmp_path / "pairs.jsonl"), "--name", "mine")
    assert run(*words, "--json").exit_code == 0
    folder = home / "training" / "mine"
    assert told["folder"] == str(folder)
    assert json.loads((folder / "plan.json").read_text())["sources"] == [str(tmp_path / "pairs.jsonl")]
    other = run(*words, "--set", "optimisation.seed=8")
    assert (other.exit_code, "another plan" in other.output) == (2, True)


def test_table_tells_before_and_after_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    from app.cli.train_report import print_report  # noqa: PLC0415

    general = {"stsb": {**JUDGED, "measure": "spearman", "gain": -0.3, "gain_at_least": -0.9}}
    print_report({"promote": True, "reasons": ["gained 4.2"], "domain": JUDGED, "general": general})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["held-out", "ndcg@10", "120", "61.2", "65.5", "+4.2", "+2.5"]
    assert lines[2].split() == ["stsb", "spearman", "120", "61.2", "65.5", "-0.3", "-0.9"]
    assert lines[-2:] == ["The new encoder is better.", "- gained 4.2"]


def test_collection_that_is_not_there_is_refused_before_any_job(home: Path) -> None:
    refused = run("--collection", "absent", "--no-wait")
    assert refused.exit_code == 2
    assert "there is no collection 'absent'" in refused.output
