import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.bulk.rows import BadLine, Fields, TextRow, read_rows, windows
from embeddings.errors import InvalidInput, UnsupportedFormat


def read(content: str | bytes, name: str = "texts.jsonl", fields: Fields | None = None) -> list[object]:
    raw = content.encode() if isinstance(content, str) else content
    return list(read_rows(io.BytesIO(raw), name, fields or Fields()))


def test_json_lines_give_their_ids_and_texts() -> None:
    lines = '{"id": "a", "text": "мёд"}\n{"_id": 7, "text": "蜂蜜"}\n\n{"text": "honey"}'
    assert read(lines) == [TextRow(1, "a", "мёд"), TextRow(2, "7", "蜂蜜"), TextRow(4, "4", "honey")]


def test_several_fields_are_joined_and_missing_ones_left_out() -> None:
    fields = Fields(("title", "text"), "key")
    lines = '{"key": 1, "title": "Bees", "text": "make honey"}\n{"key": 2, "title": null, "text": "only"}'
    assert read(lines, fields=fields) == [TextRow(1, "1", "Bees\nmake honey"), TextRow(2, "2", "only")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "cut', "not JSON"),
        ("[1, 2]", "found list, expected an object"),
        ('{"body": "x"}', "no text in 'text'; found 'body'"),
        ('{"text": " "}', "no text in 'text'"),
        ('{"text": 5}', "'text' is no text"),
        (b'{"text": "\xff"}', "not"),
    ],
)
def test_line_without_a_text_is_told_with_its_number(line: str | bytes, reason: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    (_, bad, good) = read(b'{"text": "a"}\n' + raw + b'\n{"text": "b"}')
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert reason in bad.error
    assert good == TextRow(3, "3", "b")


def test_named_id_field_has_to_be_there() -> None:
    (bad,) = read('{"text": "a"}', fields=Fields(id="key"))
    assert bad == BadLine(1, "no text or whole number as id in 'key'")


@pytest.mark.parametrize("value", ["1.5", "[1]", '{"a": 1}'])
def test_id_that_is_neither_text_nor_whole_number_is_told(value: str) -> None:
    (bad,) = read('{"text": "a", "id": ' + value + "}")
    assert isinstance(bad, BadLine)
    assert "as id in 'id' or '_id'" in bad.error


def test_csv_is_read_by_its_header() -> None:
    content = '\ufeffid,text\nq1,"two\nlines"\nq2,plain\n'
    assert read(content, "texts.csv") == [TextRow(3, "q1", "two\nlines"), TextRow(4, "q2", "plain")]


def test_gzipped_files_are_read_as_plain_ones() -> None:
    content = gzip.compress(json.dumps({"id": "a", "text": "honey"}).encode())
    assert read(content, "texts.jsonl.gz") == [TextRow(1, "a", "honey")]


def test_broken_gzip_is_refused() -> None:
    content = gzip.compress(json.dumps({"id": "a", "text": "honey " * 9000}).encode())
    with pytest.raises(InvalidInput, match="to its end"):
        read(content[:60], "texts.jsonl.gz")


def test_other_formats_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedFormat) as refusal:
        read("x", "texts.docx")
    assert ".jsonl" in (refusal.value.expected or "")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no Parquet at all", b"PAR1 cut in the middle"])
def test_broken_parquet_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="no complete Parquet"):
        read(content, "texts.parquet")


def test_damage_inside_parquet_is_refused() -> None:
    table, file = pa.table({"text": [f"honey {number}" for number in range(5_000)]}), io.BytesIO()
    pq.write_table(table, file)
    content = bytearray(file.getvalue())
    content[200:6_000] = bytes(5_800)
    with pytest.raises(InvalidInput, match="cannot read the Parquet file"):
        read(bytes(content), "texts.parquet")


def test_windows_are_bounded_by_lines_and_by_characters() -> None:
    rows = [TextRow(n, str(n), "x" * 10) for n in range(1, 8)]
    assert [len(w.rows) for w in windows(iter(rows), max_lines=3, max_chars=1000)] == [3, 3, 1]
    assert [len(w.rows) for w in windows(iter(rows), max_lines=100, max_chars=20)] == [2, 2, 2, 1]


def test_bad_lines_stay_with_their_window() -> None:
    rows = [TextRow(1, "1", "a"), BadLine(2, "x"), TextRow(3, "3", "b"), BadLine(4, "y")]
    found = list(windows(iter(rows), max_lines=2, max_chars=100))
    assert [[bad.line for bad in window.bad] for window in found] == [[2], [4]]


def test_bad_lines_fill_a_window_too() -> None:
    rows = [BadLine(n, "x") for n in range(1, 8)]
    assert [len(w.bad) for w in windows(iter(rows), max_lines=3, max_chars=1000)] == [3, 3, 1]
