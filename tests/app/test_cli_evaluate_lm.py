"""`footnote eval lm` with the bundled decoder."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.cli.evaluate_lm import write_rows
from app.cli.program import program
from app.evaluation.causal_language import prompt_text
from app.evaluation.language import Question
from app.evaluation.language_records import Asked
from generation.causal.model import CausalModel
from generation.causal.scoring import SlotReader, TokenScorer
from tests.generation.causal.tiny_causal import TinyShape, write_tiny_causal

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


def test_file_of_rows_is_complete_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    write_rows(out, [{"line": 1}])
    with pytest.raises(TypeError):
        write_rows(out, [{"line": 1}, {"line": object()}])
    assert out.read_text() == '{"line":1}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_question_without_passages_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"question": "who?", "answer": "me"}))
    result = run("--data", str(path))
    assert result.exit_code == 2
    assert "line 1 has no context" in result.stderr


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_causal(tmp_path_factory.mktemp("tiny"), TinyShape(context=256))


def test_perplexity_of_a_causal_decoder_in_windows(causal: Path, tmp_path: Path) -> None:
    story = "w1 w2 w3 w4 w5 w6 w7 " * 4
    (tmp_path / "story.txt").write_text(story)
    words = ("--data", str(tmp_path / "story.txt"), "--model", str(causal), "--json")
    model = CausalModel.load(causal, threads=1)
    ids = model.tokenizer.encode(story).ids
    whole = TokenScorer(SlotReader(model, 256), 256, 300).score(ids)
    figures = json.loads(run(*words).stdout)
    assert figures["tokens"] == len(ids) - 1
    assert figures["perplexity"] == pytest.approx(float(np.exp(-whole.logprobs.mean())), rel=1e-5)
    cut = json.loads(run(*words, "--context", "16", "--stride", "4").stdout)
    assert cut["tokens"] == figures["tokens"]
    assert cut["perplexity"] != pytest.approx(figures["perplexity"], rel=1e-3)


def test_written_answers_of_a_causal_decoder_are_its_continuations(causal: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu", reason="needs the extra eval: make setup-dev")
    data, out = tmp_path / "d.jsonl", tmp_path / "rows.jsonl"
    lines = [{"prompt": f"w{number} w3", "answers": ["w1 w2"]} for number in range(20)]
    data.write_text("\n".join(map(json.dumps, lines)))
    words = ("--data", str(data), "--model", str(causal), "--task", "answer", "--max-tokens", "5")
    result = run(*words, "--shots", "2", "--examples", str(data), "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["shots"] == 2
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["line"] for row in rows] == list(range(1, 21))
    assert len({row["prediction"] for row in rows}) > 1


def test_prompt_shows_examples_passages_and_the_question() -> None:
    shot = Asked(1, "Who?", ("It was me.",), ("me", "I"))
    question = Question(Asked(2, "How many? ", ("One.", "Two."), ("2",)), (shot,))
    assert prompt_text(question) == "It was me.\n\nWho? me\n\nOne.\n\nTwo.\n\nHow many?"
