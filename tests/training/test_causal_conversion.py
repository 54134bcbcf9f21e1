"""Decoders of each architecture, converted and compared with transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from generation.causal.model import CausalModel, PassRunner
from generation.causal.slots import SlotBuffer
from tests.training.causal_fixtures import (
    ARCHITECTURES,
    CHAT_TEMPLATE,
    CONTEXT_TOKENS,
    VOCABULARY,
    WINDOW,
    random_decoder,
    write_decoder,
)
from training.causal_conversion import CausalConversion, convert_decoder
from training.causal_quantisation import Quantisation
from training.causal_source import read_causal_source
from training.encoder_origin import Provenance
from training.parity_texts import BUILT_IN

PROVENANCE = Provenance("tiny", "made in a test", "Apache-2.0")
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
