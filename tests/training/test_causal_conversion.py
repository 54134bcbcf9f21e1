"""Decoders of each architecture, converted and compared with transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from embeddings.artifact import MANIFEST, WEIGHTS, load_manifest
from embeddings.errors import Conflict, InvalidInput, ModelDamaged
from generation.causal.model import CausalModel, PassRunner
from generation.causal.slots import SlotBuffer
from tests.training.causal_fixtures import (
    ARCHITECTURES,
    CHAT_TEMPLATE,
    CONTEXT_TOKENS,
    VOCABULARY,
    WINDOW,
    random_decoder,
    write_adapter,
    write_decoder,
    write_learned_decoder,
)
from training.causal_assembly import assemble
from training.causal_conversion import CausalConversion, convert_decoder, save_graph
from training.causal_parity import CausalBounds
from training.causal_quantisation import Quantisation
from training.causal_reading import read_blueprint
from training.causal_source import read_causal_source
from training.causal_weights import Float32
from training.encoder_conversion import Watcher
from training.encoder_export import WEIGHTS_DATA
from training.encoder_origin import Provenance
from training.parity_texts import BUILT_IN

PROVENANCE = Provenance("tiny", "made in a test", "Apache-2.0")
LOOSE = CausalBounds(perplexity_ratio=2.0)  # random weights stray more than learned ones
WINDOWED = {"mistral", "qwen2", "gemma2", "gemma3_text", "phi3"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("decoders")
    return {name: write_decoder(name, root / name) for name in ARCHITECTURES}


def convert(folder: Path, output: Path, quantisation: Quantisation, **settings: Any) -> CausalModel:
    adapter = settings.pop("adapter", None)
    source = read_causal_source(folder, adapter=adapter)
    bounds = settings.pop("bounds", quantisation.bounds())
    convert_decoder(source, CausalConversion(output, PROVENANCE, BUILT_IN, quantisation, bounds, **settings))
    return CausalModel.load(output, 1)


def random_tokens(count: int, seed: int = 5) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(3, VOCABULARY, count)


def original_logits(model: Any, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.from_numpy(tokens)[None]).logits[0].numpy()
    return logits


def read(runner: PassRunner, slots: SlotBuffer, slot: int, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits (tokens, vocabulary) after one pass."""
    logits = runner.run(slot, tokens[None], np.arange(len(tokens)))[0].copy()
    slots.lengths[slot] += len(tokens)
    return logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fp32_says_what_transformers_says_in_chunks_and_steps(
    architecture: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = convert(folders[architecture], tmp_path / "out", Quantisation("fp32"))
    tokens = random_tokens(60)
    expected = original_logits(random_decoder(architecture), tokens)
    slots = SlotBuffer(model.spec.state, 1, CONTEXT_TOKENS)
    runner, slot = PassRunner(model, slots), slots.take()
    found = [read(runner, slots, slot, chunk) for chunk in np.split(tokens, [23, 24, 25, 41, 42, 59])]
    assert np.abs(np.concatenate(found) - expected).max() < 2e-4
    assert model.spec.architecture == architecture
    assert model.spec.window_tokens == (WINDOW if architecture in WINDOWED else None)
    assert (model.spec.eos, model.spec.bos) == ((1,), 0)
    assert model.chat_template == CHAT_TEMPLATE


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma3_text"])
def test_sequences_of_different_lengths_decode_together_as_alone(
    architecture: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = convert(folders[architecture], tmp_path / "out", Quantisation("fp32"))
    slots = SlotBuffer(model.spec.state, 3, CONTEXT_TOKENS)
    runner = PassRunner(model, slots)
    rows = [random_tokens(length, seed=length) for length in (30, 13, 22)]
    for row in rows:
        read(runner, slots, slots.take(), row[:-1])
    together = runner.run(0, np.stack([row[-1:] for row in rows]), np.zeros(1, dtype=np.int64)).copy()
    original = random_decoder(architecture)
    for row, found in zip(rows, together, strict=True):
        assert np.abs(found[0] - original_logits(original, row)[-1]).max() < 2e-4


def test_only_the_wanted_logits_are_computed(folders: dict[str, Path], tmp_path: Path) -> None:
    model = convert(folders["qwen3"], tmp_path / "out", Quantisation("fp32"))
    slots = SlotBuffer(model.spec.state, 1, CONTEXT_TOKENS)
    runner, tokens = PassRunner(model, slots), random_tokens(20)
    every = runner.run(slots.take(), tokens[None], np.arange(20)).copy()
    some = runner.run(0, tokens[None], np.asarray([19, 4]))
    assert some.shape == (1, 2, VOCABULARY)
    np.testing.assert_allclose(some[0], every[0][[19, 4]], atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize(
    "quantisation",
    [
        Quantisation("int8"),
        Quantisation("int8", "symmetric"),
        Quantisation("int4", block_size=16),
        Quantisation("int4", "affine", 16),
    ],
    ids=lambda each: f"{each.precision}-{each.scheme or 'usual'}",
)
def test_quantised_decoder_stays_near_its_original(
    architecture: str, quantisation: Quantisation, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = convert(folders[architecture], tmp_path / "out", quantisation, bounds=LOOSE)
    tokens = random_tokens(40)
    expected = original_logits(random_decoder(architecture), tokens)
    slots = SlotBuffer(model.spec.state, 1, CONTEXT_TOKENS)
    found = read(PassRunner(model, slots), slots, slots.take(), tokens)
    alike = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    assert alike > (0.99 if quantisation.precision == "int8" else 0.8)
    manifest = load_manifest(tmp_path / "out")
    assert manifest.precision == quantisation.precision
    assert manifest.parity["perplexity"]["all"]["ratio"] < 2.0
    assert sum(file.stat().st_size for file in (tmp_path / "out").glob("model.onnx")) < 400_000


def test_artifact_holds_what_is_known_of_the_model(folders: dict[str, Path], tmp_path: Path) -> None:
    lines: list[str] = []
    source = read_causal_source(folders["mistral"])
    conversion = CausalConversion(tmp_path / "out", PROVENANCE, BUILT_IN, Quantisation("int8"), LOOSE)
    manifest = convert_decoder(source, conversion, Watcher(lines.append))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {MANIFEST, WEIGHTS, "tokenizer.json", "chat_template.jinja", "README.md"}
    assert set(manifest.files) == names - {MANIFEST, "README.md"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Licence: Apache-2.0" in card
    assert "| zh |" in card
    assert f"of which some layers see {WINDOW}" in card
    assert any(line.startswith("  fp32_vs_original ru: ") for line in lines)
    assert any(line.startswith("  perplexity all: ") for line in lines)


def test_weights_above_the_limit_of_one_file_stand_beside_the_graph(tmp_path: Path) -> None:
    blueprint = read_blueprint(random_decoder("qwen2"), CONTEXT_TOKENS)
    graph = assemble(blueprint, Float32())
    save_graph(graph, tmp_path / WEIGHTS, inline_bytes=1_000)
    assert (tmp_path / WEIGHTS_DATA).stat().st_size > 100_000
    assert (tmp_path / WEIGHTS).stat().st_size < 50_000
    ort.InferenceSession(str(tmp_path / WEIGHTS), providers=["CPUExecutionProvider"])


def test_nothing_is_written_when_the_graph_says_something_else(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelDamaged, match="does not say what the original says"):
        convert(folders["llama"], tmp_path / "out", Quantisation("fp32"), bounds=CausalBounds(1e-12))
    assert list(tmp_path.iterdir()) == []


def test_a_learned_model_passes_the_usual_bounds_and_fails_closer_ones(tmp_path: Path) -> None:
    folder = write_learned_decoder(tmp_path / "learned")
    usual = Quantisation("int8")
    assert convert(folder, tmp_path / "int8", usual).spec.architecture == "qwen3"
    parity = load_manifest(tmp_path / "int8").parity["perplexity"]["all"]
    assert parity["fp32"] < 60  # of 500 tokens: it did learn the texts
    assert parity["same_choice"] > 0.9
    source, lines = read_causal_source(folder), list[str]()
    closer = CausalBounds(perplexity_ratio=0.9)
    conversion = CausalConversion(tmp_path / "int4", PROVENANCE, BUILT_IN, Quantisation("int4"), closer)
    with pytest.raises(ModelDamaged, match="quantising costs too much") as caught:
        convert_decoder(source, conversion, Watcher(lines.append))
    assert "--perplexity-ratio" in caught.value.next_step
    assert not (tmp_path / "int4").exists()
    tried = [line.rpartition("activations ")[2] for line in lines if line.startswith("quantising")]
    assert tried == ["8-bit with one scale a block", "32-bit"]


def test_lora_adapter_is_merged(folders: dict[str, Path], tmp_path: Path) -> None:
    adapted = write_adapter("llama", tmp_path / "adapter")
    model = convert(folders["llama"], tmp_path / "out", Quantisation("fp32"), adapter=tmp_path / "adapter")
    tokens = random_tokens(24)
    slots = SlotBuffer(model.spec.state, 1, CONTEXT_TOKENS)
    found = read(PassRunner(model, slots), slots, slots.take(), tokens)
    assert np.abs(found - original_logits(adapted, tokens)).max() < 2e-4
    assert np.abs(found - original_logits(random_decoder("llama"), tokens)).max() > 0.05


def test_taken_output_stays_as_it_was(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Conflict):
        convert(folders["llama"], tmp_path / "out", Quantisation("fp32"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "quantisation", [Quantisation("int4", "dynamic"), Quantisation("int4", "affine", 20)]
)
def test_impossible_quantisation_is_refused(
    quantisation: Quantisation, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="no such quantisation"):
        convert(folders["llama"], tmp_path / "out", quantisation)
