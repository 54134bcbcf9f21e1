"""Lines that decoders are measured on: what is read, and how a bad one is told."""

import gzip
import json
from pathlib import Path

import pytest

from app.evaluation.language_records import Asked, has_texts, read_asked, read_choices, read_texts
from embeddings.errors import InvalidInput


def write(folder: Path, *lines: object, name: str = "data.jsonl") -> Path:
    path = folder / name
    written = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text("\n".join(written), encoding="utf-8")
    return path


def test_a_text_file_is_one_text_and_lines_are_several(tmp_path: Path) -> None:
    plain = write(tmp_path, "Кот спит.", "猫睡了。", name="story.txt")
    assert read_texts(plain) == ["Кот спит.\n猫睡了。"]
    lines = write(tmp_path, {"text": "a"}, "", {"text": "b", "id": 3}, {"text": "c"})
    assert read_texts(lines, limit=2) == ["a", "b"]
    assert has_texts(plain)
    assert has_texts(lines)
    assert not has_texts(write(tmp_path, {"prompt": "a", "answer": "b"}, name="asked.jsonl"))


def test_compressed_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n'))
    assert read_texts(path) == ["a"]


def test_right_choice_is_given_by_index_or_text(tmp_path: Path) -> None:
    line = {"question": "2 + 2?", "choices": ["3", "4"]}
    path = write(tmp_path, {**line, "answer": 1}, "", {**line, "answer": "3", "context": ["sums", "more"]})
    assert read_choices(path) == [
        Asked(1, "2 + 2?", (), ("4",), ("3", "4"), 1),
        Asked(3, "2 + 2?", ("sums", "more"), ("3",), ("3", "4"), 0),
    ]


def test_answers_come_in_the_forms_of_common_data_sets(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"prompt": "Q: who?\nA:", "answers": ["me", "I"]},
        {"question": "who?", "context": "It was me.", "answers": [{"text": "me", "answer_start": 7}]},
        {"question": "how many?", "answer": 4},
    )
    assert [(each.answers, each.passages) for each in read_asked(path)] == [
        (("me", "I"), ()),
        (("me",), ("It was me.",)),
        (("4",), ()),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken", "line 2"),
        ({"question": "a?", "choices": ["x"], "answer": 0}, "two choices or more"),
        ({"question": "a?", "choices": ["x", ""], "answer": 0}, "none empty"),
        (
            {"question": "a?", "choices": ["x", "y"], "answer": 2},
            "found answer 2; expected the text of a choice",
        ),
        ({"question": "a?", "choices": ["x", "y"], "answer": "z"}, "its index from 0 to 1"),
        ({"question": "a?", "choices": ["x", "y"]}, "found answer None"),
        ({"choices": ["x", "y"], "answer": 0}, "either `prompt` or `question`"),
        ({"prompt": "p", "question": "q", "choices": ["x", "y"], "answer": 0}, "found 2 of them"),
        ({"question": 5, "choices": ["x", "y"], "answer": 0}, r"\$\.question"),
    ],
)
def test_bad_line_of_choices_is_told_with_its_number(tmp_path: Path, line: object, words: str) -> None:
    path = write(tmp_path, {"question": "a?", "choices": ["x", "y"], "answer": 0}, line)
    with pytest.raises(InvalidInput, match=words) as raised:
        read_choices(path)
    assert "line 2" in raised.value.message
    assert raised.value.found
    assert raised.value.expected


@pytest.mark.parametrize("answers", [[], ["a", ""], None])
def test_question_without_an_answer_is_told(tmp_path: Path, answers: object) -> None:
    with pytest.raises(InvalidInput, match="line 1: found answers"):
        read_asked(write(tmp_path, {"prompt": "p", "answers": answers}))


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\xff"])
def test_file_without_text_is_told(tmp_path: Path, content: bytes) -> None:
    for name in ("data.txt", "data.jsonl"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match="data"):
            read_texts(tmp_path / name)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        read_choices(tmp_path / "nowhere.jsonl")
