"""A mix of layers: its equation, its training, its folder and its graph."""

from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer, WeightedLayerPooling
from torch import nn

from embeddings.errors import InvalidInput
from tests.training.encoder_fixtures import ARCHITECTURES, TEXTS, WIDTH, write_encoder
from training.encoder_export import export_fp32
from training.encoder_modules import assemble
from training.siamese.cpu_training import fast_training, pack
from training.siamese.layer_mixing import LAST_SHARE, LayerMix, layer_mix, mix_layers, open_encoder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("bert"))


def mixed(folder: Path) -> SentenceTransformer:
    """A model whose mix is not the one it began with."""
    model = mix_layers(SentenceTransformer(str(folder), device="cpu"))
    mix = layer_mix(model)
    assert mix is not None
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([0.01, -0.02, 0.005]))
        mix.scale.fill_(1.7)
    return model


def test_the_mix_is_elmos_equation(bert: Path) -> None:
    model = mixed(bert)
    features = model.preprocess(list(TEXTS[:3]))
    states = model[0].auto_model(**features, output_hidden_states=True).hidden_states
    shares = torch.tensor([1.0, -2.0, 0.5]).softmax(0)
    expected = 1.7 * (shares[0] * states[0] + shares[1] * states[1] + shares[2] * states[2])
    found = model[1](model[0](dict(features)))["token_embeddings"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_mix_is_mostly_the_last_layer(architecture: str, tmp_path: Path) -> None:
    plain = SentenceTransformer(str(write_encoder(architecture, tmp_path)), device="cpu")
    before = torch.as_tensor(plain.encode(list(TEXTS[:8]), normalize_embeddings=True))
    model = mix_layers(plain)
    mix = layer_mix(model)
    assert mix is not None
    assert mix.weights()[-1].item() == pytest.approx(LAST_SHARE)
    after = torch.as_tensor(model.encode(list(TEXTS[:8]), normalize_embeddings=True))
    assert (before * after).sum(1).min() > 0.9
    assert not torch.allclose(before, after, atol=1e-4)


def test_a_transformers_learning_rate_moves_the_mix(bert: Path) -> None:
    model = mix_layers(SentenceTransformer(str(bert), device="cpu"))
    mix = layer_mix(model)
    assert mix is not None
    before = mix.weights().detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    target = nn.functional.normalize(torch.randn(8, WIDTH), dim=1)
    for _ in range(20):
        vectors = model(model.preprocess(list(TEXTS[:8])))["sentence_embedding"]
        (1 - torch.cosine_similarity(vectors, target)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (mix.weights() - before).abs().max() > 0.005


def test_the_folder_opens_with_its_mix_and_no_code_of_others(bert: Path, tmp_path: Path) -> None:
    model = mixed(bert)
    model.save(str(tmp_path / "saved"))
    again = open_encoder(tmp_path / "saved")
    expected, found = (each.encode(list(TEXTS[:9]), convert_to_tensor=True) for each in (model, again))
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="trust_remote_code"):
        SentenceTransformer(str(tmp_path / "saved"), device="cpu")


def test_a_plain_folder_opens_as_ever(bert: Path) -> None:
    expected = SentenceTransformer(str(bert), device="cpu").encode(list(TEXTS[:5]), convert_to_tensor=True)
    torch.testing.assert_close(open_encoder(bert).encode(list(TEXTS[:5]), convert_to_tensor=True), expected)


def test_mixing_twice_keeps_what_was_learned(bert: Path) -> None:
    model = mixed(bert)
    mix, modules = layer_mix(model), len(model)
    assert layer_mix(mix_layers(model)) is mix
    assert len(model) == modules


def test_the_graph_mixes_as_the_model_does(bert: Path, tmp_path: Path) -> None:
    model = mixed(bert).eval()
    assembly = assemble(list(model), has_prompts=False)
    assert assembly.description == "weighted layers, mean"
    given = model.preprocess(list(TEXTS[:9]))
    export_fp32(assembly.encoder, tmp_path / "model.onnx")
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    feed = {name: given[name].numpy() for name in ("input_ids", "attention_mask")}
    found = torch.as_tensor(session.run(None, feed)[0])
    with torch.inference_mode():
        expected = model(dict(given))["sentence_embedding"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_without_the_layers_states_the_mix_says_so(bert: Path) -> None:
    model = mixed(bert)
    model[0].auto_model.config.output_hidden_states = False
    with pytest.raises(InvalidInput, match="does not give the states"):
        model.encode(["water"])


@pytest.mark.parametrize(("layers", "share"), [(1, 0.9), (3, 1.0), (3, 0.0)])
def test_a_mix_of_nothing_is_refused(layers: int, share: float) -> None:
    with pytest.raises(InvalidInput, match="nothing to mix"):
        LayerMix(layers, share)


def test_a_model_without_layers_is_refused() -> None:
    model = SentenceTransformer(modules=[WeightedLayerPooling(WIDTH, 2, 0), Pooling(WIDTH)], device="cpu")
    with pytest.raises(InvalidInput, match="no layers to mix") as refusal:
        mix_layers(model)
    assert refusal.value.found == "WeightedLayerPooling"


def test_the_embeddings_layer_is_one_of_the_mixed(bert: Path) -> None:
    model = mix_layers(SentenceTransformer(str(bert), device="cpu"))
    assert isinstance(model[0], Transformer)
    mix = layer_mix(model)
    assert mix is not None
    assert mix.layers == 3


def test_trained_in_bf16_the_mix_gives_exact_vectors(bert: Path) -> None:
    model = mixed(bert).eval()
    rows = [model.tokenizer(text)["input_ids"] for text in TEXTS[:5]]
    expected = model.encode(list(TEXTS[:5]), convert_to_tensor=True)
    with torch.inference_mode(), fast_training(model):
        found = model(pack(rows))["sentence_embedding"]
    assert found.dtype == torch.float32
    assert torch.cosine_similarity(found, expected).min() > 0.999
