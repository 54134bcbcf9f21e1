"""Pooling and what follows it, in torch against sentence-transformers, and once through the whole export."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    Dense,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
    Transformer,
    WeightedLayerPooling,
)
from torch import Tensor, nn

from embeddings.errors import ModelDamaged
from tests.training.encoder_fixtures import TEXTS, WIDTH, write_transformer
from training.encoder_export import export_fp32
from training.encoder_modules import Assembly, assemble

EVERY_MODE = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    return Transformer(str(write_transformer("bert", tmp_path_factory.mktemp("bert"))))


@pytest.fixture
def layered(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    """A transformer that gives the states of all its layers."""
    folder = write_transformer("bert", tmp_path_factory.mktemp("layered"))
    return Transformer(str(folder), config_kwargs={"output_hidden_states": True})


def features(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Tokens of sentences of different lengths, padded on the right."""
    found: dict[str, Tensor] = SentenceTransformer(modules=list(modules), device="cpu").preprocess(
        list(TEXTS[:9])
    )
    assert found["attention_mask"].sum(dim=1).unique().numel() > 3
    return found


def assert_same(modules: Sequence[nn.Module], normalised: bool = False) -> Assembly:
    """The assembly computes what sentence-transformers computes."""
    given = features(modules)
    assembly = assemble(list(modules), has_prompts=False)
    with torch.inference_mode():
        found = assembly.encoder(given["input_ids"], given["attention_mask"])
        model = SentenceTransformer(modules=list(modules), device="cpu").eval()
        expected = model(dict(given))["sentence_embedding"]
    if normalised:
        found = nn.functional.normalize(found)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found.shape[1] == assembly.dimension
    return assembly


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_each_pooling_is_that_of_sentence_transformers(transformer: Transformer, mode: Any) -> None:
    assert assert_same([transformer, Pooling(WIDTH, mode)]).description == mode


def test_poolings_are_put_side_by_side(transformer: Transformer) -> None:
    assembly = assert_same([transformer, Pooling(WIDTH, EVERY_MODE)])
    assert assembly.dimension == 6 * WIDTH
    assert assembly.description == " + ".join(EVERY_MODE)


def test_layers_are_weighted_by_their_share_of_the_sum(layered: Transformer) -> None:
    weights = nn.Parameter(torch.tensor([0.5, 3.0]))
    layers = WeightedLayerPooling(WIDTH, num_hidden_layers=2, layer_start=1, layer_weights=weights)
    assembly = assert_same([layered, layers, Pooling(WIDTH, "mean")])
    assert assembly.description == "weighted layers, mean"


def test_layer_weights_without_the_layers_have_no_effect(transformer: Transformer) -> None:
    layers = WeightedLayerPooling(WIDTH, num_hidden_layers=2, layer_start=1)
    assert assert_same([transformer, layers, Pooling(WIDTH, "mean")]).description == "mean"


@pytest.mark.parametrize(
    "dense",
    [
        Dense(WIDTH, 12),
        Dense(WIDTH, 12, bias=False, activation_function=nn.Identity()),
        Dense(WIDTH, 12, activation_function=nn.GELU(), use_residual=True),
        Dense(WIDTH, WIDTH, activation_function=nn.ReLU(), use_residual=True),
    ],
    ids=["tanh", "linear", "residual-projected", "residual"],
)
def test_dense_layers_follow_the_pooling(transformer: Transformer, dense: Dense) -> None:
    assembly = assert_same([transformer, Pooling(WIDTH, "mean"), dense])
    assert f"dense {WIDTH} to {dense.out_features}" in assembly.description


def test_normalisation_at_the_end_is_left_to_footnote(transformer: Transformer) -> None:
    assembly = assert_same([transformer, Pooling(WIDTH, "mean"), Dropout(0.5), Normalize()], normalised=True)
    assert assembly.description == "mean"


def test_normalisation_before_a_dense_layer_stays(transformer: Transformer) -> None:
    modules = [
        transformer,
        Pooling(WIDTH, "mean"),
        Normalize(),
        LayerNorm(WIDTH),
        Dense(WIDTH, 8),
        Normalize(),
    ]
    assembly = assert_same(modules, normalised=True)
    assert assembly.description == "mean, normalised, layer norm, dense 32 to 8 (tanh)"


def test_everything_at_once_survives_the_export(layered: Transformer, tmp_path: Path) -> None:
    layers = WeightedLayerPooling(WIDTH, num_hidden_layers=2, layer_start=0)
    width = len(EVERY_MODE) * WIDTH
    dense = Dense(width, 16, use_residual=True)
    modules = [layered, layers, Pooling(WIDTH, EVERY_MODE), Normalize(), LayerNorm(width), dense]
    given = features(modules)
    encoder = assert_same(modules).encoder
    export_fp32(encoder, tmp_path / "model.onnx")
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    feed = {name: given[name].numpy() for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        expected = encoder(given["input_ids"], given["attention_mask"]).numpy()
    np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ([], "modules Transformer,"),
        ([CNN(WIDTH, WIDTH), Pooling(WIDTH)], "modules Transformer, CNN, Pooling"),
        ([Pooling(WIDTH), CNN(WIDTH, WIDTH)], "modules Transformer, Pooling, CNN"),
        ([Pooling(WIDTH), Pooling(WIDTH)], "modules Transformer, Pooling, Pooling"),
        (
            [Pooling(WIDTH), Dense(WIDTH, 8, module_input_name="token_embeddings"), Normalize()],
            "Dense between token_embeddings",
        ),
    ],
    ids=["none", "before", "after", "twice", "on-tokens"],
)
def test_what_cannot_be_converted_is_named(
    transformer: Transformer, modules: list[nn.Module], found: str
) -> None:
    with pytest.raises(ModelDamaged) as refusal:
        assemble([transformer, *modules], has_prompts=False)
    assert refusal.value.found is not None
    assert f"{refusal.value.found},".startswith(found)


def test_pooling_without_the_prompt_is_refused_where_there_are_prompts(transformer: Transformer) -> None:
    modules = [transformer, Pooling(WIDTH, "mean", include_prompt=False)]
    assert assemble(modules, has_prompts=False).description == "mean"
    with pytest.raises(ModelDamaged, match="leaves the prompt's tokens out"):
        assemble(modules, has_prompts=True)
