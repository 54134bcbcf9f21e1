import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.bulk import embedding
from app.bulk.embedding import BulkOptions, BulkReport, embed_file
from embeddings.engine import EncoderEngine
from embeddings.errors import Conflict, InvalidInput, NotFound
from embeddings.vectors import unit_rows
from tests.app.hashing_encoder import HashingEncoder

WORDS = ("bees", "honey", "мёд", "пчела", "蜂蜜", "hive", "wax")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WINDOW_TEXTS", 10)


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
    report = embed_file(source, target, encoder, engine, BulkOptions())
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
    embed_file(source, target, encoder, engine, BulkOptions(prompt="query"))
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
    embed_file(source, whole, encoder, engine, BulkOptions())

    def interrupt(report: BulkReport, read: int, size: int) -> None:
        if report.texts >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(source, target, encoder, engine, BulkOptions(), progress=interrupt)
    assert not target.exists()
    report = embed_file(source, target, encoder, engine, BulkOptions())
    assert (report.resumed, report.texts) == (20, 15)
    assert read(target)[0] == read(whole)[0]
    np.testing.assert_allclose(read(target)[1], read(whole)[1], atol=1e-6)


def test_parts_of_another_job_are_refused_until_told_to_restart(
    source: Path, tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    target = tmp_path / "vectors.parquet"

    def interrupt(report: BulkReport, read: int, size: int) -> None:
        if report.texts:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(source, target, encoder, engine, BulkOptions(), progress=interrupt)
    query = BulkOptions(prompt="query")
    with pytest.raises(Conflict, match="its prompt differ") as refusal:
        embed_file(source, target, encoder, engine, query)
    assert (refusal.value.found, refusal.value.expected) == ("passage", "query")
    write_lines(source, ["other"])
    with pytest.raises(Conflict, match="its source_sha256 differ"):
        embed_file(source, target, encoder, engine, BulkOptions())
    assert embed_file(source, target, encoder, engine, query, restart=True).texts == 1


def test_over_long_text_is_refused_with_its_line_unless_it_may_be_cut(
    tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine
) -> None:
    long = "bees " * 9 + "wax"
    source, target = write_lines(tmp_path / "texts.jsonl", ["honey", long]), tmp_path / "vectors.parquet"
    with pytest.raises(InvalidInput, match="line 2: 10 tokens; the model sees at most 8"):
        embed_file(source, target, encoder, engine, BulkOptions())
    assert not target.exists()
    ends = {"end": "bees " * 8, "start": "bees " * 7 + "wax"}
    for truncate in ("end", "start"):
        options = replace(BulkOptions(), truncate=truncate)
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
        embed_file(source, target, encoder, engine, BulkOptions())
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
        BulkOptions(),
        progress=lambda report, _read, _size: done.append(report.texts),
    )
    counted.close()
    ahead = [submitted - kept for submitted, kept in zip(waiting, [0, *done], strict=False)]
    assert max(ahead) <= embedding.WINDOWS_AHEAD * 10


def test_missing_file_is_told(tmp_path: Path, encoder: HashingEncoder, engine: EncoderEngine) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        embed_file(tmp_path / "none.jsonl", tmp_path / "out.parquet", encoder, engine, BulkOptions())
