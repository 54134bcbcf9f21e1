"""Adapters leave the vectors as they are, learn alone, and vanish into the weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import BoW, Dense
from torch import nn

from embeddings.errors import InvalidInput
from tests.training.encoder_fixtures import ARCHITECTURES, TEXTS, WIDTH, write_encoder
from training.siamese.adapters import add_adapter, merge_adapter
from training.siamese.plan import Adapter

KINDS: tuple[Any, ...] = ("lora", "ia3")


def vectors(model: SentenceTransformer) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = model.eval().encode(list(TEXTS[:8]), normalize_embeddings=True)
    return np.asarray(found, np.float32)


def train(model: SentenceTransformer) -> None:
    """A few steps towards anything."""
    model.train()
    torch.manual_seed(3)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    target = nn.functional.normalize(torch.randn(8, model.get_embedding_dimension()), dim=1)
    for _ in range(4):
        found = model(model.preprocess(list(TEXTS[:8])))["sentence_embedding"]
        (1 - torch.cosine_similarity(found, target)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_it_gives_the_vectors_it_gave_before(architecture: str, kind: Any, tmp_path: Path) -> None:
    folder = write_encoder(architecture, tmp_path)
    model = SentenceTransformer(str(folder), device="cpu")
    original, names = vectors(model), list(model.state_dict())
    add_adapter(model, Adapter(kind=kind, rank=4, alpha=8))
    np.testing.assert_allclose(vectors(model), original, atol=1e-6)
    train(model)
    adapted = vectors(model)
    assert np.abs(adapted - original).max() > 1e-3
    merge_adapter(model)
    np.testing.assert_allclose(vectors(model), adapted, atol=1e-5)
    assert list(model.state_dict()) == names
    model.save(str(tmp_path / "merged"))
    np.testing.assert_allclose(
        vectors(SentenceTransformer(str(tmp_path / "merged"), device="cpu")), adapted, atol=1e-5
    )


@pytest.fixture
def model(tmp_path: Path) -> SentenceTransformer:
    return SentenceTransformer(str(write_encoder("bert", tmp_path, tail=[Dense(WIDTH, 8)])), device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_and_what_follows_the_transformer_learn(
    model: SentenceTransformer, kind: Any
) -> None:
    frozen = {name: value.clone() for name, value in model[0].state_dict().items()}
    dense = model[2].linear.weight.detach().clone()
    add_adapter(model, Adapter(kind=kind, rank=2))
    trained = sum(value.numel() for value in model[0].parameters() if value.requires_grad)
    assert 0 < trained < 0.25 * sum(value.numel() for value in frozen.values())
    train(model)
    now = {name.replace("base_layer.", ""): value for name, value in model[0].state_dict().items()}
    for name, value in frozen.items():
        torch.testing.assert_close(now[name], value, atol=0, rtol=0)
    assert not torch.equal(model[2].linear.weight, dense)
    merge_adapter(model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_none_changes_nothing(model: SentenceTransformer) -> None:
    names = list(model.state_dict())
    add_adapter(model, Adapter())
    merge_adapter(model)
    assert list(model.state_dict()) == names


def test_a_second_adapter_is_refused_until_the_first_is_merged(model: SentenceTransformer) -> None:
    add_adapter(model, Adapter(kind="lora", rank=2))
    with pytest.raises(InvalidInput, match="a model with an adapter"):
        add_adapter(model, Adapter(kind="ia3"))
    merge_adapter(model)
    add_adapter(model, Adapter(kind="ia3"))


def test_numbers_gone_wrong_are_not_merged(model: SentenceTransformer) -> None:
    add_adapter(model, Adapter(kind="lora", rank=2))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.constant_(parameter, float("nan"))
    with pytest.raises(InvalidInput, match="finite") as refusal:
        merge_adapter(model)
    assert refusal.value.field == "adapter"


def test_a_model_without_a_transformer_is_refused() -> None:
    words = SentenceTransformer(modules=[BoW(["water", "ice"])], device="cpu")
    with pytest.raises(InvalidInput, match="begins with BoW"):
        add_adapter(words, Adapter(kind="lora"))
