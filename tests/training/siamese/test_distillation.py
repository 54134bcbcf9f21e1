"""Students: fewer layers, DistilBERT's losses, and vectors near the teacher's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch.nn.functional import log_softmax, softmax

from embeddings.errors import InvalidInput
from tests.training.encoder_fixtures import ARCHITECTURES, TEXTS, WIDTH, write_encoder
from training.siamese.distillation import main, read_texts
from training.siamese.fitting import Watch
from training.siamese.layer_mixing import layer_mix, mix_layers
from training.siamese.masked_distillation import MaskedStage, three_losses
from training.siamese.plan import Optimisation
from training.siamese.progress import RunCancelled
from training.siamese.pruning import prune_layers, spread_layers
from training.siamese.students import Distillation, distil

OPTIMISATION = Optimisation(learning_rate=3e-3, layer_decay=1.0, max_tokens=64)
ONE_LAYER = Distillation(layers=1, epochs=6, batch_tokens=512, optimisation=OPTIMISATION)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("bert"))


def opened(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def after(calls: int) -> Callable[[], bool]:
    asked = iter(range(10**9))
    return lambda: next(asked) >= calls


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pruned_model_runs_its_layers_only_and_opens_again(architecture: str, tmp_path: Path) -> None:
    model = opened(write_encoder(architecture, tmp_path))
    full = model.encode(list(TEXTS[:6]))
    states = model[0].auto_model(**model.preprocess(list(TEXTS[:1])), output_hidden_states=True).hidden_states
    prune_layers(model, [0])
    found = model[0].auto_model(**model.preprocess(list(TEXTS[:1]))).last_hidden_state
    if architecture != "modernbert":  # which has a norm behind its last layer
        torch.testing.assert_close(found, states[1], atol=1e-5, rtol=1e-4)
    vectors = model.encode(list(TEXTS[:6]))
    assert np.abs(vectors - full).max() > 1e-3
    model.save(str(tmp_path / "pruned"))
    np.testing.assert_allclose(opened(tmp_path / "pruned").encode(list(TEXTS[:6])), vectors, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "kept", "expected"),
    [
        (6, 3, (0, 2, 5)),
        (12, 6, (0, 2, 4, 7, 9, 11)),
        (6, 1, (0,)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (2, 2, (0, 1)),
    ],
)
def test_kept_layers_are_spread_from_first_to_last(layers: int, kept: int, expected: tuple[int, ...]) -> None:
    assert spread_layers(layers, kept) == expected


@pytest.mark.parametrize("kept", [0, 7])
def test_more_layers_than_there_are_cannot_be_kept(kept: int) -> None:
    with pytest.raises(InvalidInput, match="of 6 layers"):
        spread_layers(6, kept)


@pytest.mark.parametrize("kept", [[], [1, 0], [0, 0], [2]])
def test_layers_are_named_in_order_and_exist(kept: list[int], bert: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be kept"):
        prune_layers(opened(bert), kept)


def test_a_pruned_model_mixes_no_layers(bert: Path) -> None:
    model = prune_layers(mix_layers(opened(bert)), [1])
    assert layer_mix(model) is None
    assert len(model.encode(["water"])) == 1


def test_the_three_losses_are_distilberts() -> None:
    torch.manual_seed(2)
    student, teacher = torch.randn(3, 7), torch.randn(3, 7)
    labels = torch.tensor([1, 0, 6])
    states = torch.randn(5, 4), torch.randn(5, 4)
    found = three_losses((student, teacher), states, labels, 2.0)
    even = softmax(teacher / 2, -1)
    soft = 4 * (even * (even.log() - log_softmax(student / 2, -1))).sum() / 3
    hard = -log_softmax(student, -1)[torch.arange(3), labels].mean()
    cosines = [1 - (one @ two) / (one.norm() * two.norm()) for one, two in zip(*states, strict=True)]
    torch.testing.assert_close(found.soft, soft)
    torch.testing.assert_close(found.hard, hard)
    torch.testing.assert_close(found.cosine, torch.stack(cosines).mean())
    whole = found.weighted(MaskedStage(1, soft=5, hard=2, cosine=1))
    torch.testing.assert_close(whole, 5 * soft + 2 * hard + found.cosine)


def test_a_student_like_its_teacher_has_nothing_to_learn_but_the_words() -> None:
    scores, states = torch.randn(3, 7), torch.randn(5, 4)
    found = three_losses((scores, scores), (states, states), torch.tensor([1, 2, 3]), 2.0)
    assert found.soft.item() == pytest.approx(0, abs=1e-5)
    assert found.cosine.item() == pytest.approx(0, abs=1e-5)
    assert found.hard.item() > 0


@pytest.mark.parametrize("settings", [ONE_LAYER, replace(ONE_LAYER, distance="mse")], ids=["cosine", "mse"])
def test_the_student_comes_nearer_to_its_teacher(settings: Distillation, bert: Path, tmp_path: Path) -> None:
    student, report = distil(bert, TEXTS, settings, Watch(tmp_path))
    assert report.cosine_after > report.cosine_before + 0.02
    assert report.parameters[0] < report.parameters[1]
    assert report.ended == "done"
    assert student[0].auto_model.config.num_hidden_layers == 1
    teacher = opened(bert).encode(list(TEXTS), normalize_embeddings=True)
    found = student.encode(list(TEXTS), normalize_embeddings=True)
    assert np.einsum("nd,nd->n", teacher, found).mean() > report.cosine_before


def test_stopped_in_any_stage_it_goes_on_to_the_same_student(bert: Path, tmp_path: Path) -> None:
    settings = replace(ONE_LAYER, epochs=1, masked=MaskedStage(1))
    whole, expected = distil(bert, TEXTS[:60], settings, Watch(tmp_path / "whole"))
    assert expected.masked_steps > 0
    for calls in (2, 3, 5):
        with pytest.raises(RunCancelled):
            distil(bert, TEXTS[:60], settings, Watch(tmp_path / "stopped", cancelled=after(calls)))
    student, found = distil(bert, TEXTS[:60], settings, Watch(tmp_path / "stopped"))
    assert found.cosine_after == expected.cosine_after
    for name, each in whole.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], each, atol=0, rtol=0)


def test_another_model_of_shorter_vectors_learns_the_teachers_directions(bert: Path, tmp_path: Path) -> None:
    small = write_encoder("bert", tmp_path, tail=[Dense(WIDTH, 8)])
    settings = replace(ONE_LAYER, layers=None, student=small)
    student, report = distil(bert, TEXTS, settings, Watch(tmp_path / "run"))
    assert student.get_embedding_dimension() == 8
    assert report.cosine_after > report.cosine_before + 0.1
    with pytest.raises(InvalidInput, match="longer than the teacher's"):
        distil(small, TEXTS, replace(settings, student=bert), Watch(tmp_path / "other"))


def test_words_are_learned_only_from_a_teacher_of_the_same_tokens(bert: Path, tmp_path: Path) -> None:
    other = write_encoder("roberta", tmp_path)
    settings = replace(ONE_LAYER, layers=None, student=other, masked=MaskedStage(1))
    with pytest.raises(InvalidInput, match="cannot guess words"):
        distil(bert, TEXTS, settings, Watch(tmp_path / "run"))


@pytest.mark.parametrize("given", [{}, {"layers": 1, "student": Path("x")}])
def test_the_student_is_named_once(given: dict[str, object], bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="what the student is"):
        distil(bert, TEXTS, Distillation(**given), Watch(tmp_path))  # type: ignore[arg-type]


def test_the_command_writes_a_student_and_tells_of_it(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[:40]), encoding="utf-8")
    output = tmp_path / "student"
    command = [str(bert), "--texts", str(tmp_path / "texts.txt"), "--layers", "1", "--output", str(output)]
    main(command)
    told = json.loads(capsys.readouterr().out)
    assert told["held_out"] == 4
    assert told["parameters"][0] < told["parameters"][1]
    assert opened(output)[0].auto_model.config.num_hidden_layers == 1
    assert not output.with_name("student.checkpoints").exists()
    with pytest.raises(SystemExit, match="student"):
        main(command)


def test_texts_come_from_corpora_and_lines_each_once(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "Ice", "text": "is cold"}\n')
    (tmp_path / "lines.txt").write_text("one\n\ntwo\none\n")
    assert read_texts([tmp_path, tmp_path / "lines.txt"]) == ["Ice\nis cold", "one", "two"]
    with pytest.raises(InvalidInput, match="no texts"):
        read_texts([tmp_path / "absent"])
