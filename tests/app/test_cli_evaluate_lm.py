"""`footnote eval lm` with the bundled decoder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program

CONTEXT = "The tower was built in 1889 by Gustave Eiffel for the world fair in Paris."
LINES = [
    {"question": "When was the tower built?", "context": CONTEXT, "choices": ["1901", "1889"], "answer": 1},
    {"question": "Who built it?", "context": CONTEXT, "choices": ["Gustave Eiffel", "1889"], "answer": 0},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    lines = [{**line, "answer": line["choices"][line["answer"]]} for line in LINES]  # type: ignore[index]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(program, ["eval", "lm", *words], env={"FOOTNOTE_THREADS": "1"})


def test_multiple_choice_of_the_bundled_decoder(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = run("--data", str(data), "--task", "choice", "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["accuracy"]["value"] == 1.0
    assert (figures["task"], figures["n"]) == ("choice", 2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["accuracy"] for row in rows] == [1, 0]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_written_answers_of_the_bundled_decoder(data: Path) -> None:
    pytest.importorskip("sacrebleu", reason="needs the extra eval: make setup-dev")
    result = run("--data", str(data), "--task", "answer", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["em"]["value"] == 1.0


def test_table_names_each_figure(data: Path) -> None:
    result = run("--data", str(data))
    assert result.exit_code == 0, result.output
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names[:4] == ["metric", "perplexity", "bits_per_byte", "tokens"]


def test_bundled_decoder_has_no_perplexity_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("Once upon a time.")
    result = run("--data", str(tmp_path / "story.txt"))
    assert result.exit_code == 2
    assert "only answers questions about passages" in result.stderr


def test_bad_line_leaves_the_older_file_as_it_was(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text("older\n")
    with data.open("a") as stream:
        stream.write('\n{"question": "no choices"}')
    result = run("--data", str(data), "--task", "choice", "--out", str(out))
    assert result.exit_code == 2
    assert "line 3" in result.stderr
    assert out.read_text() == "older\n"


def test_question_without_passages_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"question": "who?", "answer": "me"}))
    result = run("--data", str(path))
    assert result.exit_code == 2
    assert "line 1 has no context" in result.stderr
