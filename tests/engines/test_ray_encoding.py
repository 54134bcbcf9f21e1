"""Bulk embedding and reindex on a cluster: as here, whatever becomes of a node."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from app.bulk.embedding import BulkOptions, embed_file
from app.db.models import Vector
from app.encoders import RayUse, load_encoder
from app.resources import Models, open_resources
from app.services.release_types import ReindexInput, ReleaseState
from app.services.types import CollectionSettings, DocumentInput
from app.settings import Settings
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.distributed.connection import connected
from embeddings.distributed.opening import ray_engine
from embeddings.encoder import Encoder
from embeddings.engine import EncoderEngine
from embeddings.errors import InvalidInput
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder
from tests.engines.ray_cluster import Nodes
from tests.engines.ray_work import open_slow_encoder

SENTENCES = (
    "Bees dance to tell each other where the flowers are.",
    "Пчела летит на десять километров от улья и находит дорогу назад.",
    "蜂蜜不会变质，因为它含有很少的水分。",
    "Wax melts at sixty-four degrees.",
)


def text(number: int) -> str:
    return f"{number}. " + " ".join(SENTENCES[(number + i * i) % 4] for i in range(number % 7 + 1))


def write_texts(folder: Path, count: int) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": n, "text": text(n)}) + "\n" for n in range(count)))
    return path


def read(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    table = pq.read_table(path)
    return table["id"].to_pylist(), np.array(table["embedding"].to_pylist(), dtype=np.float32)


def test_vectors_of_a_file_are_those_of_this_process(nodes: Nodes, tmp_path: Path) -> None:
    source, encoder = write_texts(tmp_path, 60), Encoder.load(BUNDLED_ENCODER)
    options = BulkOptions(window_lines=10, half=True, truncate="end")
    engine = EncoderEngine(encoder, 1)
    embed_file(source, tmp_path / "here.parquet", encoder, engine, options)
    engine.close()
    with ray_engine(nodes.address, encoder, BUNDLED_ENCODER, workers=1, size=3) as distributed:
        report = embed_file(source, tmp_path / "there.parquet", encoder, distributed, options)
        long = tmp_path / "long.jsonl"
        long.write_text(json.dumps({"text": "bee " * 1000}))
        with pytest.raises(InvalidInput, match="line 1: "):
            embed_file(long, tmp_path / "long.parquet", encoder, distributed, BulkOptions())
    ids, here = read(tmp_path / "here.parquet")
    assert read(tmp_path / "there.parquet")[0] == ids
    # Two windows share the engine's batches here, which changes the last bit of some 32-bit numbers.
    np.testing.assert_allclose(read(tmp_path / "there.parquet")[1], here, atol=1e-3)
    assert report.texts == 60


def test_file_is_whole_when_a_node_is_killed(nodes: Nodes, tmp_path: Path) -> None:
    source, encoder = write_texts(tmp_path, 600), HashingEncoder()
    target = tmp_path / "vectors.parquet"
    killed: list[int] = []

    def kill(report: Any, _source: Any) -> None:
        if report.texts >= 100 and not killed:
            killed.append(report.texts)
            nodes.kill_second()

    with connected(nodes.address):
        from embeddings.distributed.encoding import RayEngine  # noqa: PLC0415 - where Ray is installed

        engine = RayEngine(encoder, 1, open_slow_encoder, 5)
        report = embed_file(source, target, encoder, engine, BulkOptions(window_lines=10), progress=kill)
        engine.close()
    nodes.start_second()
    ids, vectors = read(target)
    assert killed
    assert ids == [str(n) for n in range(600)]
    assert report.texts == 600
    expected = encoder.run(
        [each.ids for each in encoder.tokenize([text(n) for n in range(600)], "", "start")]
    )
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected / lengths, atol=1e-6)


def models() -> Models:
    loaded = load_encoder(BUNDLED_ENCODER)
    return Models(loaded.encoder, loaded.tokenizer, Answerer(None, refuse_below=0.0))


async def reindexed(home: Path, ray: RayUse | None) -> list[bytes]:
    """Every vector of a collection after its reindex to smaller chunks."""
    async with open_resources(Settings(home=home, threads=2), models()) as resources:
        await resources.collections.create("notes", CollectionSettings(64, 0))
        notes = [DocumentInput(text(n) * 3, f"note-{n}") for n in range(60)]
        await resources.documents.add("notes", notes)
        resources.encoders.ray = ray
        release = await resources.releases.reindex("notes", ReindexInput(chunk_max_tokens=32), promote=True)
        assert release.state is ReleaseState.SERVING
        async with resources.database.read() as connection:
            rows = await connection.execute(select(Vector.chunk_id, Vector.data).order_by(Vector.chunk_id))
            return [row.data for row in rows]


async def test_reindex_gives_the_same_bits(nodes: Nodes, tmp_path: Path) -> None:
    here = await reindexed(tmp_path / "here", None)
    there = await reindexed(tmp_path / "there", RayUse(nodes.address, min_chars=0, actors=2))
    assert len(here) > 300
    assert there == here
