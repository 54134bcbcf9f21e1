import csv
import errno
import gzip
import io
import json
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.bulk.embedding import WINDOWS_AHEAD, BulkOptions, BulkReport, embed_file
from app.bulk.source import Source
from embeddings.engine import EncoderEngine
from embeddings.errors import Conflict, InvalidInput, NotFound, StorageFull
from embeddings.vectors import unit_rows
from tests.app.hashing_encoder import HashingEncoder

WORDS = ("bees", "honey", "мёд", "пчела", "蜂蜜", "hive", "wax")


SMALL_WINDOWS = BulkOptions(window_lines=10)


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder(max_tokens=8)


@pytest.fixture
def engine(encoder: HashingEncoder) -> Iterator[EncoderEngine]:
    engine = EncoderEngine(encoder, workers=2)
    yield engine
    engine.close()


def text(number: int) -> str:
    return " ".join(WORDS[(number + i * i) % len(WORDS)] for i in range(number % 5 + 1))


def write_lines(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"id": f"t{n}", "text": each}) for n, each in enumerate(texts)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "texts.jsonl", [text(number) for number in range(35)])


def expected_vectors(encoder: HashingEncoder, texts: list[str]) -> np.ndarray:
    return unit_rows(encoder.run([each.ids for each in encoder.tokenize(texts, "passage", "start")]))


def read(path: Path) -> tuple[list[dict[str, object]], np.ndarray]:
    table = pq.read_table(path)
    vectors = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    return table.drop_columns("embedding").to_pylist(), vectors


def test_every_text_gets_its_vector_in_the_order_of_the_file(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    target = tmp_path / "vectors.parquet"
    report = embed_file(source, target, encoder, engine, SMALL_WINDOWS)
    rows, vectors = read(target)
    texts = [text(number) for number in range(35)]
    assert [row["id"] for row in rows] == [f"t{n}" for n in range(35)]
    assert [row["text_tokens"] for row in rows] == [len(each.split()) for each in texts]
    np.testing.assert_allclose(vectors, expected_vectors(encoder, texts), atol=1e-6)
    assert report == BulkReport(texts=35, tokens=sum(len(each.split()) for each in texts))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.jsonl", "vectors.parquet"]


def test_file_says_what_made_it(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    target = tmp_path / "vectors.parquet"
    embed_file(source, target, encoder, engine, replace(SMALL_WINDOWS, prompt="query"))
    metadata = pq.ParquetFile(target).metadata.metadata
    assert metadata[b"footnote.model"] == encoder.model_id.encode()
    assert metadata[b"footnote.prompt"] == b"query"
    assert len(metadata[b"footnote.source_sha256"]) == 64


def test_smaller_and_shorter_vectors_can_be_asked_for(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    target = tmp_path / "vectors.parquet"
    encoder.spec = msgspec.structs.replace(encoder.spec, matryoshka_dimensions=(16,))
    embed_file(source, target, encoder, engine, BulkOptions(half=True, dimensions=16))
    assert pq.read_schema(target).field("embedding").type == pa.list_(
        pa.field("item", pa.float16(), nullable=False), 16
    )
    with pytest.raises(InvalidInput, match="not of 5"):
        embed_file(source, target, encoder, engine, BulkOptions(dimensions=5))


def test_interrupted_work_goes_on_where_it_stopped(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    whole, target = tmp_path / "whole.parquet", tmp_path / "vectors.parquet"
    embed_file(source, whole, encoder, engine, SMALL_WINDOWS)

    def interrupt(report: BulkReport, source: Source) -> None:
        if report.texts >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(source, target, encoder, engine, SMALL_WINDOWS, progress=interrupt)
    assert not target.exists()
    report = embed_file(source, target, encoder, engine, SMALL_WINDOWS)
    assert (report.resumed, report.texts) == (20, 15)
    assert read(target)[0] == read(whole)[0]
    np.testing.assert_allclose(read(target)[1], read(whole)[1], atol=1e-6)


def test_parts_of_another_job_are_refused_until_told_to_restart(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    target = tmp_path / "vectors.parquet"

    def interrupt(report: BulkReport, source: Source) -> None:
        if report.texts:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(source, target, encoder, engine, SMALL_WINDOWS, progress=interrupt)
    query = replace(SMALL_WINDOWS, prompt="query")
    with pytest.raises(Conflict, match="differs in: prompt") as refusal:
        embed_file(source, target, encoder, engine, query)
    assert (refusal.value.found, refusal.value.expected) == ("passage", "query")
    write_lines(source, ["other"])
    with pytest.raises(Conflict, match="differs in: source_sha256"):
        embed_file(source, target, encoder, engine, SMALL_WINDOWS)
    assert embed_file(source, target, encoder, engine, query, restart=True).texts == 1


def test_over_long_text_is_refused_with_its_line_unless_it_may_be_cut(
    tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    long = "bees " * 9 + "wax"
    source, target = write_lines(tmp_path / "texts.jsonl", ["honey", long]), tmp_path / "vectors.parquet"
    with pytest.raises(InvalidInput, match="line 2: 10 tokens; the model sees at most 8"):
        embed_file(source, target, encoder, engine, SMALL_WINDOWS)
    assert not target.exists()
    ends = {"end": "bees " * 8, "start": "bees " * 7 + "wax"}
    for truncate in ("end", "start"):
        options = BulkOptions(truncate=truncate)
        report = embed_file(source, target, encoder, engine, options)
        rows, vectors = read(target)
        assert report.truncated == 1
        assert [(row["text_tokens"], row["truncated"]) for row in rows] == [(1, False), (10, True)]
        np.testing.assert_allclose(vectors[1], expected_vectors(encoder, [ends[truncate]])[0], atol=1e-6)


def test_lines_that_cannot_be_embedded_are_listed_beside_the_output(
    tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    source, target = tmp_path / "texts.jsonl", tmp_path / "vectors.parquet"
    lines = ['{"text": "honey"}', "oops", '{"text": "' + "bees " * 20 + '"}', '{"text": "wax"}']
    source.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 2: not JSON"):
        embed_file(source, target, encoder, engine, SMALL_WINDOWS)
    report = embed_file(source, target, encoder, engine, BulkOptions(skip_errors=True))
    assert (report.texts, report.errors) == (2, 2)
    assert [row["id"] for row in read(target)[0]] == ["1", "4"]
    listed = (tmp_path / "vectors.parquet.errors.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["line"] for line in listed] == [2, 3]


def test_file_of_bad_lines_only_gives_an_empty_table(
    tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    source, target = tmp_path / "texts.jsonl", tmp_path / "vectors.parquet"
    source.write_text("oops\n", encoding="utf-8")
    report = embed_file(source, target, encoder, engine, BulkOptions(skip_errors=True))
    assert (report.texts, report.errors) == (0, 1)
    assert pq.read_table(target).num_rows == 0


def test_only_a_few_windows_are_in_memory(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    waiting: list[int] = []
    seen: list[int] = []

    class Counted(EncoderEngine):
        def submit(self, texts, **options):  # type: ignore[no-untyped-def]
            future = engine.submit(texts, **options)
            seen.append(len(texts))
            waiting.append(sum(seen))
            return future

    counted = Counted(encoder, workers=1)
    done: list[int] = []
    embed_file(
        source,
        tmp_path / "vectors.parquet",
        encoder,
        counted,
        SMALL_WINDOWS,
        progress=lambda report, _source: done.append(report.texts),
    )
    counted.close()
    ahead = [submitted - kept for submitted, kept in zip(waiting, [0, *done], strict=False)]
    assert max(ahead) <= WINDOWS_AHEAD * 10


def test_missing_file_is_told(tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        embed_file(tmp_path / "none.jsonl", tmp_path / "out.parquet", encoder, engine, SMALL_WINDOWS)


@pytest.mark.parametrize("name", ["texts.csv", "texts.csv.gz", "texts.jsonl.gz", "texts.parquet"])
def test_every_format_gives_the_same_table(
    name: str, source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    expected, target = tmp_path / "expected.parquet", tmp_path / "vectors.parquet"
    embed_file(source, expected, encoder, engine, SMALL_WINDOWS)
    records = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    write_as(tmp_path / name, records)
    embed_file(tmp_path / name, target, encoder, engine, SMALL_WINDOWS)
    assert pq.read_table(target).equals(pq.read_table(expected))


def write_as(path: Path, records: list[dict[str, str]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
        return
    text = io.StringIO()
    if ".csv" in path.name:
        rows = csv.DictWriter(text, ["id", "text"])
        rows.writeheader()
        rows.writerows(records)
    else:
        text.write("\n".join(map(json.dumps, records)))
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_output_that_would_replace_the_texts_is_refused(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    before = source.read_bytes()
    with pytest.raises(InvalidInput, match="would replace the texts"):
        embed_file(source, source, encoder, engine, SMALL_WINDOWS)
    with pytest.raises(InvalidInput, match="is a folder"):
        embed_file(source, tmp_path, encoder, engine, SMALL_WINDOWS)
    assert source.read_bytes() == before


def test_refused_command_leaves_nothing_behind(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    source.write_text("oops", encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 1"):
        embed_file(source, tmp_path / "vectors.parquet", encoder, engine, SMALL_WINDOWS)
    assert list(tmp_path.iterdir()) == [source]


def test_folder_of_parts_keeps_what_somebody_else_put_there(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    mine = tmp_path / "vectors.parquet.partial" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    embed_file(source, tmp_path / "vectors.parquet", encoder, engine, SMALL_WINDOWS, restart=True)
    assert list(mine.parent.iterdir()) == [mine]


def test_parts_of_which_nobody_knows_the_job_are_refused(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    folder = tmp_path / "vectors.parquet.partial"
    folder.mkdir()
    (folder / "part-000000.parquet").write_bytes(b"")
    with pytest.raises(Conflict, match="parts of another job"):
        embed_file(source, tmp_path / "vectors.parquet", encoder, engine, SMALL_WINDOWS)


def test_second_command_on_the_same_output_is_refused(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    target, refused = tmp_path / "vectors.parquet", []

    def start_another(report: BulkReport, opened: Source) -> None:
        with pytest.raises(Conflict, match="another process is writing") as refusal:
            embed_file(source, target, encoder, engine, SMALL_WINDOWS)
        refused.append(refusal.value)

    embed_file(source, target, encoder, engine, SMALL_WINDOWS, progress=start_another)
    assert refused
    assert pq.read_table(target).num_rows == 35


def test_file_that_changes_meanwhile_is_refused(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    def grow(report: BulkReport, opened: Source) -> None:
        with source.open("a", encoding="utf-8") as stream:
            stream.write('\n{"text": "late"}')

    with pytest.raises(Conflict, match="changed while it was read"):
        embed_file(source, tmp_path / "vectors.parquet", encoder, engine, SMALL_WINDOWS, progress=grow)
    assert not (tmp_path / "vectors.parquet").exists()


def test_full_disk_is_told_and_leaves_no_half_written_part(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # a part is larger, job.json is not
    try:
        with pytest.raises(OSError, match="File too large"):
            embed_file(source, tmp_path / "vectors.parquet", encoder, engine, SMALL_WINDOWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [source]


def test_no_space_is_told_with_the_way_on(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    def fill(report: BulkReport, opened: Source) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFull) as refusal:
        embed_file(source, tmp_path / "vectors.parquet", encoder, engine, SMALL_WINDOWS, progress=fill)
    assert "goes on" in (refusal.value.next_step or "")
