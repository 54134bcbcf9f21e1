import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn

from tests.training.encoder_fixtures import TEXTS
from tests.training.siamese.model_fixtures import encoder
from training.siamese import cpu_training
from training.siamese.batches import Tokeniser
from training.siamese.cpu_training import encode_fast, fast_training, pack

SAMPLE = (*TEXTS[:6], "bees", "bees bees", "clocks", *TEXTS[:2])


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "albert", "mpnet", "modernbert"])
def test_vectors_without_padding_equal_those_of_the_model(architecture: str) -> None:
    model = encoder(architecture)
    found = encode_fast(model, Tokeniser(model, 64).rows(SAMPLE, 0), precision="fp32")
    np.testing.assert_allclose(found, model.encode(list(SAMPLE)), atol=2e-6)


def test_bf16_stays_near_and_leaves_the_model_as_it_was() -> None:
    model = encoder()
    before = model.encode(list(SAMPLE))
    found = encode_fast(model, Tokeniser(model, 64).rows(SAMPLE, 0))
    cosines = (found * before).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(before, axis=1)
    assert cosines.min() > 0.999
    np.testing.assert_array_equal(model.encode(list(SAMPLE)), before)


@pytest.mark.parametrize("live_tokens", [10_000, 40, 0])
def test_gradients_equal_those_of_padded_batches(live_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_training, "CHUNK_TOKENS", 32)  # several chunks in a batch of a test
    queries, passages = SAMPLE[:5], SAMPLE[3:8]
    expected = _gradients(queries, passages, None)
    found = _gradients(queries, passages, live_tokens)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-3)


def _gradients(
    queries: tuple[str, ...], passages: tuple[str, ...], live: int | None
) -> dict[str, torch.Tensor]:
    model = encoder().eval()  # no dropout
    loss = MultipleNegativesRankingLoss(model)
    if live is None:
        features = [model.preprocess(list(texts)) for texts in (queries, passages)]
        loss(features, torch.zeros(5)).backward()
    else:
        tokeniser = Tokeniser(model, 64)
        with fast_training(model, "fp32", live_tokens=live):
            loss([pack(tokeniser.rows(texts, 1)) for texts in (queries, passages)], torch.zeros(5)).backward()
    return {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def test_chunks_computed_again_drop_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_training, "CHUNK_TOKENS", 32)
    gradients = []
    for live_tokens in (10_000, 0):
        model = encoder().train()
        loss = MultipleNegativesRankingLoss(model)
        tokeniser = Tokeniser(model, 64)
        torch.manual_seed(3)
        with fast_training(model, "fp32", live_tokens=live_tokens):
            loss(
                [pack(tokeniser.rows(SAMPLE[:4], 1)), pack(tokeniser.rows(SAMPLE[4:8], 1))], torch.zeros(4)
            ).backward()
        gradients.append(model[0].model.embeddings.word_embeddings.weight.grad)
    torch.testing.assert_close(*gradients)


def test_check_is_asked_on_the_way_back_too() -> None:
    model, asked = encoder().train(), []
    rows = Tokeniser(model, 64).rows(SAMPLE, 0)
    with fast_training(model, check=lambda: asked.append(torch.is_grad_enabled())):
        vectors = model(pack(rows))["sentence_embedding"]
        forward = len(asked)
        vectors.sum().backward()
    assert forward == 1
    assert len(asked) == 2


def test_exchanged_parts_are_put_back_after_a_failure() -> None:
    model = encoder().train()
    kinds = [type(each) for each in model.modules()]
    attention = model[0].model.config._attn_implementation
    swapped = _kinds_while_it_fails(model)
    assert swapped != kinds
    assert [type(each) for each in model.modules()] == kinds
    assert nn.Dropout in kinds
    assert model[0].model.config._attn_implementation == attention
    assert "forward" not in vars(model)
    assert "forward" not in vars(model[0])


def _kinds_while_it_fails(model: SentenceTransformer) -> list[type]:
    kinds: list[type] = []

    def fail() -> None:
        with fast_training(model):
            kinds.extend(type(each) for each in model.modules())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    return kinds


def test_encoding_inside_a_training_leaves_the_training_its_forward() -> None:
    model = encoder().train()
    rows = Tokeniser(model, 64).rows(SAMPLE, 0)
    with fast_training(model, "fp32"):
        first = encode_fast(model, rows, "fp32")
        again = model.eval()(pack(rows))["sentence_embedding"]
    np.testing.assert_allclose(again.detach().numpy(), first, atol=2e-6)
