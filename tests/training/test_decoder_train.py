from pathlib import Path

import pytest
import torch

from tests.training.decoder_fixtures import TINY_LAYOUT, TINY_SHAPE, tiny_tokenizer
from training.decoder_data import QaRecord
from training.decoder_model import CopyDecoder
from training.decoder_recipe import HELD_OUT_GROUPS, TrainSettings, training_records
from training.decoder_train import DecoderTrainer

SETTINGS = TrainSettings(steps=6, batch_tokens=96, warmup_steps=2, dropout=0.0)
RECORDS = [
    QaRecord(f"who built the {thing}", f"The {who} built the {thing} in 1871.", "g", ((4, 4 + len(who)),))
    for who in ("king", "queen", "miller", "baker")
    for thing in ("tower", "castle", "bridge", "harbour")
]


def _trainer(settings: TrainSettings = SETTINGS) -> DecoderTrainer:
    torch.manual_seed(settings.seed)
    return DecoderTrainer(
        settings, RECORDS, tiny_tokenizer(), CopyDecoder(TINY_SHAPE, dropout=0.0), TINY_LAYOUT
    )


def _run(trainer: DecoderTrainer, until: int) -> list[float]:
    losses: list[float] = []
    batches = trainer.batches()
    while trainer.state.step < until:
        losses.append(trainer.step(next(batches)))
    return losses


def test_resumed_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    unbroken = _run(_trainer(), until=6)
    first = _trainer()
    before = _run(first, until=3)
    first.save(tmp_path / "checkpoint.pt")
    second = _trainer()
    second.load(tmp_path / "checkpoint.pt")
    assert before + _run(second, until=6) == pytest.approx(unbroken, rel=1e-3)


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    _trainer().save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="pass the same settings"):
        _trainer(TrainSettings(steps=7)).load(tmp_path / "checkpoint.pt")


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    trainer = _trainer()
    rates = []
    batches = trainer.batches()
    for _ in range(SETTINGS.steps):
        rates.append(trainer.schedule.get_last_lr()[0])
        trainer.step(next(batches))
    assert rates[0] < rates[1] == max(rates)
    assert rates[-1] < rates[2]
    assert trainer.schedule.get_last_lr()[0] == 0.0


def test_missing_training_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"squad.train\.jsonl\.gz is missing; point --data"):
        training_records(tmp_path)


def test_held_out_articles_are_not_trained_on(data_dir: Path) -> None:
    records, held_out = training_records(data_dir)
    assert {record.group for record in held_out} == HELD_OUT_GROUPS
    assert not {record.context for record in held_out} & {record.context for record in records}
