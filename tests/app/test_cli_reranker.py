import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program
from tests.training.reranker_fixtures import write_reranker


def run(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(program, list(words), env=environ)


def test_a_converted_reranker_orders_the_hits_of_a_search(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source, output = tmp_path_factory.mktemp("source"), tmp_path / "reranker"
    write_reranker("bert", source)
    made = run("models", "convert", str(source), "--kind", "reranker", "--output", str(output), "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["kind"] == "reranker"
    notes = tmp_path / "notes"
    notes.mkdir()
    for name, text in (("a", "Tomatoes like sun."), ("b", "Tomatoes need water."), ("c", "Snow is cold.")):
        (notes / f"{name}.txt").write_text(text)
    environ = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_RERANKER": str(output)}
    assert run("ingest", str(notes), "--collection", "notes", **environ).exit_code == 0
    words = ("search", "tomatoes", "--collection", "notes", "--rerank", "--explain", "--json")
    hits = json.loads(run(*words, **environ).stdout)["hits"]
    scores = [hit["explain"]["rerank_score"] for hit in hits]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True) == [hit["score"] for hit in hits]


def test_an_encoders_options_are_refused_for_a_reranker(tmp_path: Path) -> None:
    refused = run(
        *("models", "convert", str(tmp_path), "--kind", "reranker"),
        *("--output", str(tmp_path / "out"), "--matryoshka", "8"),
    )
    assert refused.exit_code != 0
    assert not (tmp_path / "out").exists()
