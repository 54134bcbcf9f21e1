"""`footnote models` as it is typed, and the service with an encoder that it converted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program
from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from tests.training.encoder_fixtures import WIDTH, write_transformer

Run = Callable[..., Result]


def run(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(program, ["models", *words], env=environ)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece vocabulary whose tokenizer adds no special token to a text."""
    folder = write_transformer("xlm-roberta", tmp_path_factory.mktemp("xlmr") / "tiny-xlmr", positions=300)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    return folder


@pytest.fixture(scope="module")
def converting(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    output = tmp_path_factory.mktemp("converted") / "encoder"
    options = ["--prompt", "query=find ", "--prompt", "passage=", "--matryoshka", "16,8"]
    return output, run("convert", str(source), "--kind", "encoder", "--output", str(output), *options)


def test_steps_and_notes_go_to_stderr_and_the_result_to_stdout(converting: tuple[Path, Result]) -> None:
    output, result = converting
    assert result.exit_code == 0, result.output
    assert "note: the folder does not say how to pool: mean is assumed" in result.stderr
    assert "quantising, with scales from" in result.stderr
    assert "int8_vs_fp32_graph en: lowest cosine" in result.stderr
    assert f"folder:                        {output}" in result.stdout
    assert "smaller dimensions:            16, 8" in result.stdout
    assert "prompt query:                  'find '" in result.stdout


def test_manifest_holds_what_was_asked_for(converting: tuple[Path, Result]) -> None:
    manifest = load_manifest(converting[0])
    assert (manifest.name, manifest.precision) == ("tiny-xlmr", "int8")
    assert manifest.encoder is not None
    assert manifest.encoder.max_tokens == 298  # the table has 300 rows, of which XLM-R skips two
    assert manifest.encoder.prompts == {"query": "find "}
    assert manifest.encoder.matryoshka_dimensions == (16, 8)


def test_converted_encoder_is_shown(converting: tuple[Path, Result]) -> None:
    result = run("show", "--json", FOOTNOTE_ENCODER=str(converting[0]))
    encoder, decoder = json.loads(result.stdout)["models"]
    assert encoder["encoder"]["dimension"] == WIDTH
    assert decoder["kind"] == "decoder"


BEES = "Honey bees gather nectar and turn it into honey, which the colony eats in winter."
CONTRACT = "Договор недействителен, если одну из сторон заставили его подписать."
LONG = "开往海边的火车每小时从四号站台发车。" * 60  # several chunks


def test_converted_encoder_serves(converting: tuple[Path, Result], tmp_path: Path) -> None:
    environ = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_ENCODER": str(converting[0])}
    notes = tmp_path / "notes"
    notes.mkdir()
    for name, text in (("bees", BEES), ("договор", CONTRACT), ("火车", LONG)):
        (notes / f"{name}.txt").write_text(text, encoding="utf-8")
    runner = CliRunner()
    added = runner.invoke(program, ["ingest", str(notes), "--collection", "notes"], env=environ)
    assert added.exit_code == 0, added.output
    for query, document in ((BEES, "bees.txt"), (CONTRACT, "договор.txt")):
        words = ["search", query, "--collection", "notes", "--json", "--mode", "dense"]
        found = runner.invoke(program, words, env=environ)
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["hits"][0]["document_id"] == document


def test_collection_of_another_encoder_is_encoded_anew(
    converting: tuple[Path, Result], tmp_path: Path
) -> None:
    (tmp_path / "bees.txt").write_text(BEES)
    home = {"FOOTNOTE_HOME": str(tmp_path / "home")}
    added = CliRunner().invoke(
        program, ["ingest", str(tmp_path / "bees.txt"), "--collection", "notes"], env=home
    )
    assert added.exit_code == 0, added.output
    environ = home | {"FOOTNOTE_ENCODER": str(converting[0])}
    words = ["search", BEES, "--collection", "notes", "--json", "--mode", "dense"]
    found = CliRunner().invoke(program, words, env=environ)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["hits"][0]["document_id"] == "bees.txt"


def test_failing_conversion_tells_the_figures_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    result = run("convert", str(source), "--output", str(tmp_path / "out"), "--lowest-cosine", "1")
    assert result.exit_code == 1
    assert "int8_vs_fp32_graph en lowest_cosine 0.9" in result.stderr
    assert "next:" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", "query"], "a prompt is NAME=TEXT"),
        (["--matryoshka", "many"], "dimensions are whole numbers"),
        (["--matryoshka", "64"], "64 is not a smaller dimension"),
        (["--texts", "absent.txt"], "absent.txt"),
        (["--judge", "absent"], "absent"),
        (["--kind", "oracle"], "oracle"),
        (["--precision", "fp64"], "fp64"),
    ],
)
def test_bad_options_are_refused_with_their_value(
    source: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    result = run("convert", str(source), "--output", str(tmp_path / "out"), *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_absent_source_names_what_could_be_given(tmp_path: Path) -> None:
    result = run("convert", "./no/such/folder", "--output", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "no such folder" in result.stderr
    assert "a folder of sentence-transformers" in result.stderr


def test_bundled_models_are_shown() -> None:
    result = run("show")
    assert result.exit_code == 0
    assert load_manifest(BUNDLED_ENCODER).model_id in result.stdout
