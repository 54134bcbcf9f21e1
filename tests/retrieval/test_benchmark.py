import gzip
import json
from pathlib import Path

import pytest

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from embeddings.errors import InvalidInput, NotFound
from retrieval.benchmark import load_task, measure_retrieval
from retrieval.types import SearchMode

CORPUS = [
    {"_id": "cat", "title": "Cats", "text": "A cat sleeps on the sofa."},
    {"_id": "car", "title": "", "text": "The engine of an automobile burns fuel."},
    {"_id": "empty", "title": "", "text": ""},
    {"_id": "bread", "title": "Baking", "text": "Flour, water and yeast become bread."},
]
QUERIES = [
    {"_id": "q1", "text": "sleeping kitten"},
    {"_id": "q2", "text": "how do I bake bread"},
    {"_id": "q3", "text": "nobody judged this"},
    {"_id": "q4", "text": "judged as irrelevant only"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\tcat\t1\nq2\tbread\t2\nq2\tcar\t0\nq4\tcat\t0\n"


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_task(folder: Path, split: str = "test", ending: str = "jsonl.gz") -> Path:
    write_rows(folder / f"corpus.{ending}", CORPUS)
    write_rows(folder / f"queries.{ending}", QUERIES)
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / f"{split}.tsv").write_text(QRELS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(BUNDLED_ENCODER, threads=1)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_folder_is_read_plain_or_compressed(tmp_path: Path, ending: str) -> None:
    task = load_task(write_task(tmp_path, ending=ending))

    assert task.documents == {
        "cat": "Cats\nA cat sleeps on the sofa.",
        "car": "The engine of an automobile burns fuel.",
        "empty": "",
        "bread": "Baking\nFlour, water and yeast become bread.",
    }
    assert list(task.queries) == ["q1", "q2"]
    assert task.qrels["q2"] == {"bread": 2, "car": 0}


def test_test_split_comes_before_dev_unless_one_is_named(tmp_path: Path) -> None:
    folder = write_task(tmp_path, split="dev")
    assert load_task(folder).split == "dev"

    write_task(tmp_path, split="test")
    assert load_task(folder).split == "test"
    assert load_task(folder, "dev").split == "dev"


@pytest.mark.parametrize("mode", list(SearchMode))
def test_rankings_are_measured(tmp_path: Path, encoder: Encoder, mode: SearchMode) -> None:
    pytest.importorskip("pytrec_eval", reason="needs the extra `eval`")
    steps: list[tuple[str, int, int]] = []

    report = measure_retrieval(write_task(tmp_path), encoder, mode, progress=lambda *step: steps.append(step))

    assert (report.documents, report.queries, report.mode) == (4, 2, mode)
    assert report.run["q2"][0] == "bread"
    assert report.metrics["mrr@10"].value >= 0.5
    assert steps == [("documents", 4, 4), ("queries", 1, 2), ("queries", 2, 2)]


def test_meaning_finds_what_words_do_not(tmp_path: Path, encoder: Encoder) -> None:
    folder = write_task(tmp_path)
    (folder / "queries.jsonl.gz").unlink()
    write_rows(folder / "queries.jsonl", [{"_id": "q1", "text": "kitten nap"}, {"_id": "q2", "text": "loaf"}])

    dense = measure_retrieval(folder, encoder, SearchMode.DENSE).run
    lexical = measure_retrieval(folder, encoder, SearchMode.LEXICAL).run

    assert (dense["q1"][0], dense["q2"][0]) == ("cat", "bread")
    assert lexical == {"q1": [], "q2": []}


@pytest.mark.parametrize("name", ["corpus.jsonl.gz", "queries.jsonl.gz", "qrels/test.tsv"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_task(tmp_path) / name).unlink()

    with pytest.raises(NotFound, match=name):
        load_task(tmp_path)


def compressed(data: bytes) -> bytes:
    """Without the time, which would give the parameters other names in each of pytest's processes."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("corpus.jsonl.gz", b"no gzip at all", "corpus"),
        ("corpus.jsonl.gz", compressed(b'{"_id": "a", "text": "b"}\n' * 99)[:-9], "corpus"),
        ("queries.jsonl.gz", compressed(b"\xff\xfe\n"), "queries"),
        ("queries.jsonl.gz", compressed(b'{"_id": "q1", "text": "a"}\n{"_id": 2}\n'), "line 2"),
        ("queries.jsonl.gz", compressed(b'{"_id": "q1"'), "line 1"),
        ("queries.jsonl.gz", compressed(b'{"_id": "q1", "text": "a"}\n'), "'q2'"),
        ("qrels/test.tsv", b"head\nq1 cat 1\n", "line 2"),
        ("qrels/test.tsv", b"head\nq1\tcat\tyes\n", "line 2"),
    ],
)
def test_broken_file_says_where(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (write_task(tmp_path) / name).write_bytes(content)

    with pytest.raises(InvalidInput, match=found):
        load_task(tmp_path)
