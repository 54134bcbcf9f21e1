"""The masked-language head of each architecture, and what is masked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForMaskedLM

from embeddings.errors import InvalidInput
from tests.training.encoder_fixtures import (
    ARCHITECTURES,
    MAX_TOKENS,
    TEXTS,
    configuration,
    fast_tokenizer,
    write_encoder,
)
from training.siamese.cpu_training import fast_training
from training.siamese.masked_language import IGNORED, MaskedHead, Masker, guess_loss, token_states
from training.siamese.text_training import token_rows


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_guesses_what_transformers_own_model_guesses(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    tokenizer = fast_tokenizer(architecture)
    own = AutoModelForMaskedLM.from_config(configuration(architecture, tokenizer)).eval()
    own.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = SentenceTransformer(str(tmp_path), device="cpu").eval()
    head = MaskedHead(model).eval()
    assert head.is_trained
    given = tokenizer(list(TEXTS[:5]), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode(), fast_training(model, "fp32"):
        rows = [row.ids for row in token_rows(model, TEXTS[:5], MAX_TOKENS)]
        found = head(token_states(model, rows))
        expected = own(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits
    torch.testing.assert_close(found, expected[given["attention_mask"] == 1], atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("bert"))


def test_a_new_head_shares_the_embeddings_and_teaches_them(bert: Path) -> None:
    model = SentenceTransformer(str(bert), device="cpu")
    head = MaskedHead(model)
    assert not head.is_trained
    embeddings = model[0].auto_model.get_input_embeddings().weight
    labels = torch.tensor([5, IGNORED, 7])
    guess_loss(head, torch.randn(3, embeddings.shape[1]), labels, "bf16").backward()
    assert embeddings.grad is not None
    assert all(parameter is not embeddings for parameter in head.own_parameters())


def test_nothing_to_guess_costs_nothing(bert: Path) -> None:
    head = MaskedHead(SentenceTransformer(str(bert), device="cpu"))
    loss = guess_loss(head, torch.randn(2, 32, requires_grad=True), torch.full((2,), IGNORED), "fp32")
    assert loss.item() == 0
    loss.backward()


# Spaces of their own, spaces in the tokens, bytes.
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "roberta"])
def test_words_are_masked_whole_or_not_at_all(architecture: str, tmp_path: Path) -> None:
    model = SentenceTransformer(str(write_encoder(architecture, tmp_path)), device="cpu")
    rows = token_rows(model, TEXTS[:40], MAX_TOKENS)
    masker = Masker(model.tokenizer, 0.3, whole_words=True)
    torch.manual_seed(1)
    given, labels = masker(rows)
    assert [len(row) for row in given] == [len(row) for row in rows]
    words = np.concatenate([row.words + 1000 * number for number, row in enumerate(rows)])
    special = np.concatenate([row.words < 0 for row in rows])
    ids, masked = np.concatenate([row.ids for row in rows]), labels.numpy() != IGNORED
    assert not masked[special].any()
    assert (labels.numpy()[masked] == ids[masked]).all()
    assert (np.concatenate(given)[masked] == model.tokenizer.mask_token_id).all()
    assert (np.concatenate(given)[~masked] == ids[~masked]).all()
    inside = [masked[(words == word) & ~special] for word in np.unique(words[~special])]
    assert any(len(word) > 1 for word in inside)
    assert all(word.all() or not word.any() for word in inside)
    assert np.mean([word.any() for word in inside]) == pytest.approx(0.3, abs=0.06)


def test_each_pass_masks_anew_and_a_seed_masks_again(bert: Path) -> None:
    model = SentenceTransformer(str(bert), device="cpu")
    rows, masker = token_rows(model, TEXTS[:9], MAX_TOKENS), Masker(model.tokenizer, 0.3, whole_words=False)
    torch.manual_seed(1)
    first, second = masker(rows)[1], masker(rows)[1]
    torch.manual_seed(1)
    again = masker(rows)[1]
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_a_tokenizer_without_a_mask_is_refused(bert: Path) -> None:
    tokenizer = SentenceTransformer(str(bert), device="cpu").tokenizer
    tokenizer.mask_token = None
    with pytest.raises(InvalidInput, match="no mask token"):
        Masker(tokenizer, 0.3, whole_words=True)
