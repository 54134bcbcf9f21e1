"""What commands say of `--ray` before they work on a cluster."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.program import program
from app.cli.ray import use_ray
from app.encoders import RayUse
from app.jobs.trainer import ray_options
from app.resources import Resources


def test_bulk_embedding_refuses_an_address_that_is_none(tmp_path: Path) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out.parquet"
    source.write_text(json.dumps({"text": "bees"}), encoding="utf-8")
    result = CliRunner().invoke(
        program, ["embed", str(source), "--out", str(out), "--ray", "ray://head:10001"]
    )
    assert result.exit_code == 2
    assert "10.0.0.5:6379" in result.stderr
    assert not list(tmp_path.glob("out*"))


def test_training_of_a_collection_leaves_the_cluster_to_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path))
    words = ["train", "encoder", "--collection", "notes", "--ray", "10.0.0.5:6379"]
    result = CliRunner().invoke(program, words)
    assert result.exit_code == 2
    assert "FOOTNOTE_RAY_ADDRESS" in result.stderr


def test_option_is_followed_however_little_there_is_to_encode(resources: Resources) -> None:
    assert use_ray(resources, None).encoders.ray is None
    assert use_ray(resources, "10.0.0.5:6379").encoders.ray == RayUse("10.0.0.5:6379", min_chars=0)


def test_training_process_is_told_of_the_cluster() -> None:
    assert ray_options(None, 4) == ()
    assert ray_options("10.0.0.5:6379", 4) == ("--ray", "10.0.0.5:6379", "--ray-workers", "4")
