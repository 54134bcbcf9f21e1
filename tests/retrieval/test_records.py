import pytest

from embeddings.errors import InvalidInput, Unreadable
from retrieval.records import BadRecord, Record, has_records, split_records


def test_each_line_becomes_a_document() -> None:
    data = (
        b'{"text": "Water boils.", "id": "a", "title": "Heat", "metadata": {"year": 1990}}\n'
        b'{"text": "Ice melts."}\n'
    )
    assert split_records(data, "facts.jsonl") == [
        Record(1, "Water boils.", "a", "Heat", {"year": 1990}),
        Record(2, "Ice melts.", None, None, {}),
    ]


def test_id_of_beir_corpora_and_numbers_are_taken_as_ids() -> None:
    records = split_records(b'{"_id": "d1", "text": "one"}\n{"id": 7, "text": "two"}', "corpus.jsonl")
    assert [record.id for record in records if isinstance(record, Record)] == ["d1", "7"]


def test_a_bad_line_fails_alone_with_its_number() -> None:
    data = (
        b'{"text": "good"}\n\n{"text": 5}\nnot json\n{"text": "good too"}\n'
        b'{"text": "x", "url": "y"}\n{"text": " "}'
    )
    entries = split_records(data, "mixed.jsonl")
    assert [(type(entry), entry.line) for entry in entries] == [
        (Record, 1),
        (BadRecord, 3),
        (BadRecord, 4),
        (Record, 5),
        (BadRecord, 6),
        (BadRecord, 7),
    ]
    errors = [entry.error for entry in entries if isinstance(entry, BadRecord)]
    assert [type(error) for error in errors] == [InvalidInput, InvalidInput, InvalidInput, Unreadable]
    assert "line 3 of mixed.jsonl" in errors[0].message
    assert "url" in errors[2].message
    assert all(error.expected and error.next_step for error in errors)


def test_deeply_nested_line_fails_alone() -> None:
    deep = b'{"text": "x", "metadata": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    bad, good = split_records(deep + b'\n{"text": "fine"}', "deep.jsonl")
    assert isinstance(bad, BadRecord)
    assert isinstance(good, Record)


def test_text_of_a_record_is_cleaned() -> None:
    (record,) = split_records(b'{"text": "a\\u0000b\\r\\nc"}', "odd.jsonl")
    assert isinstance(record, Record)
    assert record.text == "ab\nc"


@pytest.mark.parametrize(
    ("filename", "data", "expected"),
    [
        ("a.jsonl", b'\n{"text": "x"}\n', True),
        ("A.NDJSON", b'{"text": "x"}', True),
        ("a.jsonl", b'{"question": "x", "answers": []}', False),
        ("a.jsonl", b'{"text": ["x"]}', False),
        ("a.jsonl", b"[1, 2]", False),
        ("a.jsonl", b"", False),
        ("a.jsonl", b"\x89PNG\r\n\x1a\n\x00\x00", False),
        ("a.json", b'{"text": "x"}', False),
    ],
)
def test_records_are_told_by_name_and_first_line(filename: str, data: bytes, expected: bool) -> None:
    assert has_records(data, filename) is expected
