"""`footnote eval` on tiny folders."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program

TOPICS = {
    "tomato": "Plant tomatoes in May, after the last frost.",
    "leek": "Leeks stand in the bed until spring.",
    "bean": "Beans want warm soil and a stick to climb.",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A retrieval task in BEIR form: three documents, three queries."""
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": name, "title": name, "text": text} for name, text in TOPICS.items()]
    queries = [{"_id": f"q-{name}", "text": f"when do I plant a {name}"} for name in TOPICS]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judgements = "\n".join(f"q-{name}\t{name}\t1" for name in TOPICS)
    (tmp_path / "qrels" / "dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgements}\n")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(program, ["eval", *words], env={"FOOTNOTE_THREADS": "1"})


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_retrieval_figures_have_intervals(folder: Path, mode: str) -> None:
    pytest.importorskip("pytrec_eval", reason="needs the extra eval: make setup-dev")
    result = run("retrieval", "--data", str(folder), "--mode", mode, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["ndcg@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert {"recall@10", "recall@100", "mrr@10", "map"} < figures.keys()
    assert (figures["split"], figures["mode"], figures["queries"]) == ("dev", mode, 3)


def test_retrieval_table_names_each_metric(folder: Path) -> None:
    pytest.importorskip("pytrec_eval", reason="needs the extra eval: make setup-dev")
    lines = run("retrieval", "--data", str(folder), "--mode", "lexical").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["ndcg@10", "recall@10", "recall@100", "mrr@10", "map"]


@pytest.mark.parametrize("words", [("retrieval",), ("retrieval", "--split", "train"), ("answers",)])
def test_data_that_is_not_there_is_bad_input(tmp_path: Path, words: tuple[str, ...]) -> None:
    pytest.importorskip("pytrec_eval", reason="needs the extra eval: make setup-dev")
    result = run(*words, "--data", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
