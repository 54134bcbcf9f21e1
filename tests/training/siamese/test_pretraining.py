"""Pre-training: it learns the texts, stops and goes on, and refuses what it cannot do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embeddings.errors import InvalidInput
from tests.training.encoder_fixtures import TEXTS, write_encoder
from training.siamese import denoising
from training.siamese.fitting import Watch
from training.siamese.plan import Optimisation, Pretraining
from training.siamese.pretraining import pretrain
from training.siamese.progress import RunCancelled, read_losses
from training.siamese.text_training import TokenRow

CORPUS = {f"document-{number}#0": text for number, text in enumerate(TEXTS[:40])}
OPTIMISATION = Optimisation(max_tokens=64)
# Held-out texts are the words of the others, mixed anew: learnable whatever pieces the tokenizer cuts.
PATTERNED = {
    f"{who}-{what}-{where}#0": f"The {who} {what} in the {where}."
    for who in ("teacher", "doctor", "driver", "painter", "sailor")
    for what in ("sleeps", "sings", "works", "waits", "reads")
    for where in ("garden", "station", "harbour", "kitchen", "office")
}
KINDS: tuple[Any, ...] = ("mlm", "tsdae")


def settings(kind: Any, **others: Any) -> Pretraining:
    return Pretraining(kind=kind, **{"epochs": 6, "learning_rate": 5e-3, "batch_tokens": 512} | others)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)  # else its weights would hang on what ran before
    return write_encoder("bert", tmp_path_factory.mktemp("bert"))


def opened(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def weights(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in model.state_dict().items()}


def after(calls: int) -> Callable[[], bool]:
    """False so often, then True."""
    asked = iter(range(10**9))
    return lambda: next(asked) >= calls


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_texts_become_likelier(kind: Any, bert: Path, tmp_path: Path) -> None:
    model = opened(bert)
    start = weights(model)
    shown: list[tuple[str, int, int]] = []
    watch = Watch(tmp_path, show=lambda *told: shown.append(told))
    report = pretrain(model, PATTERNED, settings(kind), OPTIMISATION, watch)
    assert report.kind == kind
    assert report.ended == "done"
    assert report.steps == report.planned_steps > 0
    assert report.texts > 30
    assert report.held_out >= 1
    assert report.tokens > 0
    assert report.perplexity_after < report.perplexity_before
    changed = [name for name, each in weights(model).items() if not torch.equal(each, start[name])]
    assert any("layer.1" in name for name in changed)
    assert shown[-1][1:] == (report.steps, report.steps)
    losses = [line["loss"] for line in read_losses(tmp_path)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    model.save(str(tmp_path / "saved"))
    np.testing.assert_allclose(
        opened(tmp_path / "saved").encode(list(TEXTS[:3])), model.encode(list(TEXTS[:3])), atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_started_again_it_ends_where_it_would_have(kind: Any, bert: Path, tmp_path: Path) -> None:
    wanted = settings(kind, epochs=2)
    whole = opened(bert)
    expected = pretrain(whole, CORPUS, wanted, OPTIMISATION, Watch(tmp_path / "whole"))
    stopped = Watch(tmp_path / "stopped", cancelled=after(3))
    with pytest.raises(RunCancelled):
        pretrain(opened(bert), CORPUS, wanted, OPTIMISATION, stopped)
    model = opened(bert)
    found = pretrain(model, CORPUS, wanted, OPTIMISATION, replace(stopped, cancelled=lambda: False))
    assert replace(found, seconds=0) == replace(expected, seconds=0)
    for name, each in weights(whole).items():
        torch.testing.assert_close(weights(model)[name], each, atol=0, rtol=0)
    assert list(read_losses(tmp_path / "stopped")) == list(read_losses(tmp_path / "whole"))


def test_what_is_done_is_not_done_again(bert: Path, tmp_path: Path) -> None:
    first, second = opened(bert), opened(bert)
    expected = pretrain(first, CORPUS, settings("mlm", epochs=1), OPTIMISATION, Watch(tmp_path))
    losses = list(read_losses(tmp_path))
    assert pretrain(second, CORPUS, settings("mlm", epochs=1), OPTIMISATION, Watch(tmp_path)) == expected
    assert list(read_losses(tmp_path)) == losses
    for name, each in weights(first).items():
        torch.testing.assert_close(weights(second)[name], each, atol=0, rtol=0)


def test_out_of_time_it_ends_with_what_it_has(bert: Path, tmp_path: Path) -> None:
    watch = Watch(tmp_path, seconds_left=lambda: 0.0)
    report = pretrain(opened(bert), CORPUS, settings("mlm"), OPTIMISATION, watch)
    assert report.ended == "out of time"
    assert report.steps == 1 < report.planned_steps


def test_accumulated_batches_make_one_step(bert: Path, tmp_path: Path) -> None:
    wanted = settings("mlm", epochs=2, batch_tokens=128)
    one = pretrain(opened(bert), CORPUS, wanted, OPTIMISATION, Watch(tmp_path / "one"))
    optimisation = msgspec.structs.replace(OPTIMISATION, accumulation=2)
    two = pretrain(opened(bert), CORPUS, wanted, optimisation, Watch(tmp_path / "two"))
    assert two.steps == -(-one.steps // 2) < one.steps
    assert two.tokens >= one.tokens


def test_another_corpus_does_not_go_on_with_the_checkpoint(bert: Path, tmp_path: Path) -> None:
    pretrain(opened(bert), CORPUS, settings("mlm", epochs=1), OPTIMISATION, Watch(tmp_path))
    other = {name: text.upper() + " and more" for name, text in CORPUS.items()}
    with pytest.raises(InvalidInput, match="another training"):
        pretrain(opened(bert), other, settings("mlm", epochs=1), OPTIMISATION, Watch(tmp_path))


def test_the_decoders_tie_keeps_the_models_weights(bert: Path) -> None:
    model = opened(bert)
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(1.5)
    expected = weights(model)
    autoencoder = denoising.autoencoder(model)
    for name, each in weights(model).items():
        torch.testing.assert_close(each, expected[name], atol=0, rtol=0)
    decoder = autoencoder.decoder.bert.encoder.layer[0].output.dense.weight
    assert decoder is model[0].auto_model.encoder.layer[0].output.dense.weight


def test_a_damaged_row_lacks_whole_words_and_keeps_its_ends() -> None:
    row = TokenRow(np.arange(8, dtype=np.int32), np.array([-1, 0, 0, 1, 2, 2, 3, -1], np.int32))
    torch.manual_seed(0)
    found = [denoising.damaged(row, 0.6).tolist() for _ in range(200)]
    assert all(each[0] == 0 and each[-1] == 7 and len(each) > 2 for each in found)
    assert all((1 in each) == (2 in each) and (4 in each) == (5 in each) for each in found)
    assert np.mean([6 in each for each in found]) == pytest.approx(0.4, abs=0.1)


def test_an_architecture_without_a_decoder_is_named(tmp_path: Path) -> None:
    model = opened(write_encoder("distilbert", tmp_path))
    with pytest.raises(InvalidInput, match="no decoder") as refusal:
        pretrain(model, CORPUS, settings("tsdae"), OPTIMISATION, Watch(tmp_path / "run"))
    assert refusal.value.found == "tsdae with distilbert"


@pytest.mark.parametrize("corpus", [{}, {"a#0": "one text", "a#1": "of one document", "b#0": " "}])
def test_too_little_text_is_refused(corpus: dict[str, str], bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too little text"):
        pretrain(opened(bert), corpus, settings("mlm"), OPTIMISATION, Watch(tmp_path))
