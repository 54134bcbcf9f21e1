"""`footnote models convert --kind decoder` as it is typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program
from embeddings.artifact import load_manifest
from tests.training.causal_fixtures import write_adapter, write_decoder


def run(*words: str) -> Result:
    return CliRunner().invoke(program, ["models", "convert", *words])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder("llama", tmp_path_factory.mktemp("llama") / "tiny-llama")


def test_decoder_is_converted_with_its_steps_and_figures(source: Path, tmp_path: Path) -> None:
    words = [
        "--kind",
        "decoder",
        "--precision",
        "int4",
        "--scheme",
        "affine",
        "--block",
        "16",
        "--context",
        "64",
    ]
    result = run(str(source), "--output", str(tmp_path / "out"), *words, "--perplexity-ratio", "2")
    assert result.exit_code == 0, result.output
    assert "fp32_vs_original en: 64 tokens, largest difference" in result.stderr
    assert "quantising: 4-bit blocks of 16 with a scale and a zero point each" in result.stderr
    assert "perplexity all: " in result.stderr
    manifest = load_manifest(tmp_path / "out")
    assert (manifest.name, manifest.kind, manifest.precision) == ("tiny-llama", "decoder", "int4")
    assert manifest.graph["context_tokens"] == 64


def test_adapter_stands_in_the_source(source: Path, tmp_path: Path) -> None:
    write_adapter("llama", tmp_path / "mine")
    words = ["--kind", "decoder", "--precision", "fp32", "--lora", str(tmp_path / "mine"), "--json"]
    result = run(str(source), "--output", str(tmp_path / "out"), *words)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert "; LoRA adapter mine, adapter_model.safetensors with SHA-256 " in shown["source"]
    assert shown["files"] == json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]


def test_bound_that_is_not_kept_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    words = ["--kind", "decoder", "--precision", "int8", "--perplexity-ratio", "0.5"]
    result = run(str(source), "--output", str(tmp_path / "out"), *words)
    assert result.exit_code == 1
    assert "quantising costs too much" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "decoder", "--matryoshka", "16"], "--matryoshka is for encoders"),
        (["--kind", "reranker", "--perplexity-ratio", "1.1"], "--perplexity-ratio is for decoders"),
        (["--scheme", "affine"], "--scheme is for decoders"),
        (["--precision", "int4"], "--precision int4 is for decoders"),
        (["--kind", "decoder", "--context", "4096"], "the model takes 32 to 128"),
        (["--kind", "decoder", "--block", "20", "--scheme", "affine"], "one of 16, 32, 64"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    source: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    result = run(str(source), "--output", str(tmp_path / "out"), *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
