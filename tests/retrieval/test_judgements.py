import json
from pathlib import Path
from typing import Any

import pytest

from embeddings.errors import InvalidInput, NotFound
from retrieval.judgements import JudgedQuery, read_judgements


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "judged.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def test_every_form_of_judgement_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"query": "отпуск", "relevant": ["a", "b"]},
        {"query": "假期", "relevant": {"a": 2, "c": 0}},
        {"query": "leave", "clicked": ["b"], "time": "2026-01-01"},
    )
    assert read_judgements(path) == [
        JudgedQuery("отпуск", {"a": 1, "b": 1}),
        JudgedQuery("假期", {"a": 2, "c": 0}),
        JudgedQuery("leave", {"b": 1}),
    ]


def test_lines_of_one_query_are_joined_and_queries_without_a_right_document_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"query": "leave", "clicked": ["a"]},
        {"query": "nothing", "relevant": {"a": 0}},
        {"query": " leave ", "relevant": {"a": 3, "b": 1}},
        {"query": "leave", "clicked": ["a"]},
        {"query": "empty", "clicked": []},
    )
    assert read_judgements(path) == [JudgedQuery("leave", {"a": 3, "b": 1})]


@pytest.mark.parametrize(
    "row",
    [
        ["leave", "a"],
        {"query": "leave"},
        {"query": " ", "clicked": ["a"]},
        {"query": 7, "clicked": ["a"]},
        {"query": "leave", "relevant": ["a"], "clicked": ["b"]},
        {"query": "leave", "relevant": {"a": 1.5}},
        {"query": "leave", "relevant": {"a": -1}},
        {"query": "leave", "relevant": {"a": True}},
        {"query": "leave", "clicked": {"a": 1}},
        {"query": "leave", "clicked": [1]},
    ],
)
def test_line_of_another_form_is_refused_with_its_number(tmp_path: Path, row: Any) -> None:
    with pytest.raises(InvalidInput, match="line 2"):
        read_judgements(written(tmp_path, {"query": "good", "clicked": ["a"]}, row))


def test_broken_json_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    with pytest.raises(NotFound):
        read_judgements(path)
    path.write_text('{"query": "leave"')
    with pytest.raises(InvalidInput, match="line 1"):
        read_judgements(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput):
        read_judgements(path)
