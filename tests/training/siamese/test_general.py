import gzip
import json
from pathlib import Path

import pytest

from embeddings.errors import NotFound
from retrieval.benchmark import RetrievalTask, load_task
from training.siamese.general import BUILT_IN, load_general
from training.siamese.general.making import make_xquad
from training.siamese.splitting import ScoredTask


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_built_in_set_is_there_whole_without_any_path() -> None:
    task = load_general()[BUILT_IN]

    assert isinstance(task, RetrievalTask)
    assert (len(task.documents), len(task.queries)) == (120, 574)
    assert all(len(grades) == 1 for grades in task.qrels.values())


def test_set_is_made_of_each_paragraph_and_each_question_once(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "para": "p0", "title": "Some_River", "context": "It flows.", "question": "Does it flow?"},
        {"id": "2", "para": "p0", "title": "Some_River", "context": "It flows.", "question": "Where?"},
        {"id": "3", "para": "p1", "title": "Lake", "context": "It lies.", "question": "Where?"},
    ]
    source = tmp_path / "en.jsonl.gz"
    source.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    for name in ("one", "other"):
        make_xquad(source, tmp_path / name)

    task = load_task(tmp_path / "one")
    assert task.documents == {"p0": "Some River\nIt flows.", "p1": "Lake\nIt lies."}
    assert task.qrels == {"1": {"p0": 1}, "2": {"p0": 1}}
    for name in ("corpus.jsonl.gz", "queries.jsonl.gz", "qrels/test.tsv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_folder_is_taken_with_its_test_split_or_the_named_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "corpus.jsonl", [{"_id": "d", "text": "text"}])
    write_rows(tmp_path / "queries.jsonl", [{"_id": "q", "text": "query"}])
    (tmp_path / "qrels").mkdir()
    for split in ("train", "test"):
        (tmp_path / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")

    found = load_general([tmp_path, f"{tmp_path}:train"])

    splits = {name: task.split for name, task in found.items() if isinstance(task, RetrievalTask)}
    assert splits == {BUILT_IN: "test", str(tmp_path): "test", f"{tmp_path}:train": "train"}


def test_file_of_scored_pairs_is_judged_by_its_scores(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"sentence1": f"first {number}", "sentence2": f"second {number}", "score": float(number)}
        for number in range(6)
    ]
    path = write_rows(tmp_path / "sts.jsonl", rows)

    task = load_general([path])[str(path)]

    assert isinstance(task, ScoredTask)
    assert task.scores == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1))


def test_half_of_a_labelled_set_is_looked_for_in_the_other_half(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"words number {number} about {label}", "label": label}
        for label in ("cats", "dogs")
        for number in range(10)
    ]
    path = write_rows(tmp_path / "classes.jsonl", rows)

    task = load_general([path])[str(path)]

    assert isinstance(task, RetrievalTask)
    assert len(task.queries) == len(task.documents) == 10
    assert all(len(grades) == 5 for grades in task.qrels.values())


def test_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing"):
        load_general([tmp_path / "nothing.jsonl"])
