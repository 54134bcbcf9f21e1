from itertools import islice, takewhile
from pathlib import Path

import pytest
import torch

from tests.training.decoder_fixtures import TINY_LAYOUT, TINY_SHAPE, tiny_tokenizer
from training.decoder_data import ExampleBuilder, MixSettings, QaRecord
from training.decoder_model import CopyDecoder
from training.decoder_recipe import HELD_OUT_GROUPS, TrainSettings, held_out_records
from training.decoder_stages import Source, Stage, TrainingSets
from training.decoder_stream import ExampleStream
from training.decoder_train import Run, StageTrainer, average_stages, train

SETTINGS = TrainSettings(batch_tokens=96, dropout=0.0)
RECORDS = [
    QaRecord(f"who built the {thing}", f"The {who} built the {thing} in 1871.", "g", ((4, 4 + len(who)),))
    for who in ("king", "queen", "miller", "baker")
    for thing in ("tower", "castle", "bridge", "harbour")
]
SOURCE = Source("built", lambda sets: RECORDS, 1.0, MixSettings(max_passages=3))
STAGE = Stage("tiny", 6, 2.5e-4, 1e-3, (SOURCE,), warmup_steps=2)


def _trainer() -> StageTrainer:
    torch.manual_seed(SETTINGS.seed)
    return StageTrainer(CopyDecoder(TINY_SHAPE, dropout=0.0), STAGE, SETTINGS, TINY_LAYOUT)


def _stream() -> ExampleStream:
    builder = ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, RECORDS)
    return ExampleStream(builder, [(SOURCE, RECORDS)], SETTINGS.batch_tokens, SETTINGS.seed)


def _run(trainer: StageTrainer, until: int) -> list[float]:
    losses: list[float] = []
    state = trainer.state
    for pool, batch, examples in _stream().batches(state.pool, state.batch):
        losses.append(trainer.step(examples))
        state.pool, state.batch = pool, batch
        if state.step == until:
            return losses
    return losses


def test_resumed_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    unbroken = _run(_trainer(), until=6)
    first = _trainer()
    before = _run(first, until=3)
    first.save(tmp_path / "checkpoint.pt")
    second = _trainer()
    second.load(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    assert before + _run(second, until=6) == pytest.approx(unbroken, rel=1e-3)


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    trainer = StageTrainer(CopyDecoder(TINY_SHAPE), STAGE, TrainSettings(seed=8), TINY_LAYOUT)
    trainer.save(tmp_path / "decoder.pt")
    with pytest.raises(ValueError, match="pass the same settings"):
        train(Run(SETTINGS, (STAGE,), TrainingSets(tmp_path, tmp_path), tmp_path))


def test_learning_rate_warms_up_and_falls() -> None:
    trainer = _trainer()
    rates = []
    for _, _, examples in islice(_stream().batches(), STAGE.steps):
        rates.append(trainer.schedule.get_last_lr()[0])
        trainer.step(examples)
    assert rates[0] < rates[1] == max(rates)
    assert rates[-1] < rates[2]
    assert trainer.schedule.get_last_lr()[0] == pytest.approx(STAGE.final_share * max(rates))


def test_pools_hold_the_sources_by_their_shares_and_every_record_in_turn() -> None:
    few = Source("few", lambda sets: RECORDS[:4], 3.0, MixSettings(asked=1.0))
    builder = ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, RECORDS)
    stream = ExampleStream(builder, [(SOURCE, RECORDS), (few, RECORDS[:4])], 96, seed=1)
    first = takewhile(lambda found: found[0] == 0, stream.batches())
    pool = [example for _, _, batch in first for example in batch]
    asked = [example for example in pool if example.prompt.token_ids[0] == TINY_LAYOUT.ask]
    assert len(asked) == 768
    assert 1000 < len(pool) <= 1024  # an example whose answer does not fit is left out
    assert len({example.targets.tobytes() for example in asked}) == 4


def test_shipped_weights_are_the_weighted_mean_of_stages(tmp_path: Path) -> None:
    for stage, value in (("first", 1.0), ("last", 3.0)):
        torch.save({"model": {"weight": torch.full((2,), value)}}, tmp_path / f"{stage}.pt")
    path = average_stages(tmp_path, {"first": 0.25, "last": 0.75})
    assert torch.load(path, weights_only=True)["model"]["weight"].tolist() == [2.5, 2.5]


def test_missing_training_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"squad.train\.jsonl\.gz is missing; point --data"):
        TrainingSets(tmp_path, tmp_path).spans(0)


def test_held_out_groups_are_not_trained_on(data_dir: Path) -> None:
    sets = TrainingSets(data_dir, data_dir)
    held_out = held_out_records(data_dir)
    assert {record.group for record in held_out} >= HELD_OUT_GROUPS
    trained = {record.context for index in range(3) for record in sets.spans(index)}
    assert not {record.context for record in held_out} & trained
