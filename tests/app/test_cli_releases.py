"""Reindexing from the command line, with the bundled encoder and another that only has another name."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.program import program
from embeddings.artifact import BUNDLED_ENCODER, MANIFEST


class Commands:
    """Runs commands on a data folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: str, exit_code: int = 0) -> str:
        environ = {"FOOTNOTE_HOME": str(self.home), "FOOTNOTE_THREADS": "1"}
        result = CliRunner().invoke(program, list(words), env=environ)
        assert result.exit_code == exit_code, result.output
        return result.output

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    """A data folder with a collection of three short documents, and a second encoder."""
    run, notes = Commands(tmp_path / "home"), tmp_path / "notes"
    notes.mkdir()
    for name, text in {
        "frost": "Plant tomatoes in May, after the last frost. " * 9,
        "mayak": "Маяк стоит на скале у моря. " * 9,
        "dengta": "灯塔站在岩石上。" * 9,
    }.items():
        (notes / f"{name}.txt").write_text(text, encoding="utf-8")
    run("ingest", str(notes), "--collection", "notes")
    other = run.home / "models" / "other"
    shutil.copytree(BUNDLED_ENCODER, other)
    manifest = json.loads((other / MANIFEST).read_text(encoding="utf-8"))
    (other / MANIFEST).write_text(json.dumps({**manifest, "name": "other"}), encoding="utf-8")
    return run


def ids(found: Any) -> Sequence[str]:
    return [hit["document_id"] for hit in found["hits"]]


def test_release_is_made_promoted_taken_back_and_pruned(run: Commands) -> None:
    run("golden", "add", "notes", "when are tomatoes planted", "frost.txt")
    wanted = ("--encoder", "other", "--chunk-max-tokens", "32", "--chunk-overlap-tokens", "0")
    made = run.json("reindex", "notes", *wanted, "--no-promote")
    assert (made["number"], made["state"], made["encoder"]) == (2, "ready", "models/other")
    assert made["report"]["golden_recall_at_10"] == 1.0
    assert run.json("search", "frost", "--collection", "notes")["release"] == 1
    assert "serving" in run("releases", "promote", "notes", "2")
    found = run.json("search", "где маяк", "--collection", "notes")
    assert (found["release"], ids(found)[0]) == (2, "mayak.txt")
    assert run.json("releases", "rollback", "notes")["number"] == 1
    assert "recall_at_10" in run("releases", "show", "notes", "2")
    run("reindex", "notes", "--chunk-max-tokens", "24")
    assert run.json("releases", "prune", "notes")["chunks"] > 0
    states = {each["number"]: each["state"] for each in run.json("releases", "list", "notes")["releases"]}
    assert states == {1: "previous", 2: "retired", 3: "serving"}


def test_golden_queries_are_listed_and_removed(run: Commands) -> None:
    run("golden", "add", "notes", "где маяк", "mayak.txt", "frost.txt")
    assert "mayak.txt, frost.txt" in run("golden", "list", "notes")
    (golden,) = run.json("golden", "list", "notes")["golden_queries"]
    run("golden", "remove", "notes", str(golden["id"]))
    assert run.json("golden", "list", "notes") == {"golden_queries": []}


def test_reindex_without_a_change_is_refused_with_the_way_out(run: Commands) -> None:
    assert "--chunk-max-tokens" in run("reindex", "notes", exit_code=2)
    assert "no-such" in run("reindex", "notes", "--encoder", "no-such", exit_code=2)
