"""Trains the bundled decoder on question-answering records, in pieces that resume where the last one stopped.

    python -m training.decoder_train --data ../shared/data --checkpoints DIR [--steps N]

The recipe: warm start from MiniLM-L6, AdamW, linear warm-up and decay, gradient clipping, bf16 matrix
products with fp32 weights, length-grouped batches of a token budget, dropout 0.1, refusals and distractor
passages mixed in (decoder_data.py).
"""

import argparse
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from generation.prompt import PromptLayout
from training.batching import length_grouped_batches
from training.decoder_data import Example, ExampleBuilder, MixSettings, QaRecord, load_records
from training.decoder_loss import collate, copy_loss
from training.decoder_model import CopyDecoder
from training.warm_start import minilm_directory, warm_start

# Ids of BERT's uncased vocabulary; [unused0] is 1. The markers stand for passage numbers.
LAYOUT = PromptLayout(
    start=101,
    separator=102,
    begin=10,
    refuse=11,
    passage_tokens=(1, 2, 3, 4, 5, 6, 7, 8),
    answer_position=448,
    max_question_tokens=64,
    max_answer_tokens=60,
)
# Sets with an open licence only: the weights are shipped.
TRAINING_FILES = ("squad/train.jsonl.gz", "nq_gold/train.jsonl.gz", "fairytaleqa/train.jsonl.gz")
# Two articles that training never sees: the refusal threshold is fitted on them.
HELD_OUT_GROUPS = frozenset({"Chloroplast", "Steam_engine"})


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """steps: optimiser steps in all; batch_tokens: padded tokens a step; rates: peak learning rates."""

    steps: int = 2000
    batch_tokens: int = 4096
    learning_rate: float = 2.5e-4
    head_learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    seed: int = 7
    checkpoint_every: int = 200


@dataclass(slots=True)
class TrainState:
    """What a checkpoint holds besides weights. epoch_step: batches of the running epoch that are done."""

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    seconds: float = 0.0


def training_records(data: Path) -> tuple[list[QaRecord], list[QaRecord]]:
    """Records to train on, and the held-out ones. Raises FileNotFoundError naming the missing set."""
    records: list[QaRecord] = []
    for name in TRAINING_FILES:
        if not (data / name).is_file():
            raise FileNotFoundError(f"{data / name} is missing; point --data at the folder of training sets")
        records += load_records(data / name)
    held_out = [record for record in records if record.group in HELD_OUT_GROUPS]
    return [record for record in records if record.group not in HELD_OUT_GROUPS], held_out


class DecoderTrainer:
    """One training run: model, optimiser, schedule and the stream of batches."""

    def __init__(self, settings: TrainSettings, records: Sequence[QaRecord], tokenizer: Tokenizer) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.records = records
        self.builder = ExampleBuilder(tokenizer, LAYOUT, records, MixSettings())
        self.model = CopyDecoder(dropout=settings.dropout)
        warm_start(self.model, minilm_directory())
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), betas=(0.9, 0.98), fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate_factor)
        self.state = TrainState()

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Heads start from nothing and learn faster; norms and biases are not decayed."""
        settings = self.settings
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            head = name.startswith(("copy_head", "vocabulary"))
            groups.setdefault((head, parameter.dim() < 2), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": settings.head_learning_rate if head else settings.learning_rate,
                "weight_decay": 0.0 if plain else settings.weight_decay,
            }
            for (head, plain), parameters in groups.items()
        ]

    def _rate_factor(self, step: int) -> float:
        warmup, total = self.settings.warmup_steps, self.settings.steps
        return min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))

    def batches(self) -> Iterator[list[Example]]:
        """Endless batches; the epoch's own seed makes a resumed run see what an unbroken one would."""
        while True:
            rng = random.Random(self.settings.seed * 1000 + self.state.epoch)
            examples = list(self.builder.epoch(self.records, rng))
            lengths = [example.length for example in examples]
            for index, batch in enumerate(length_grouped_batches(lengths, self.settings.batch_tokens, rng)):
                if index >= self.state.epoch_step:
                    yield [examples[i] for i in batch]
                    self.state.epoch_step = index + 1
            self.state.epoch += 1
            self.state.epoch_step = 0

    def step(self, examples: list[Example]) -> float:
        """One optimiser step; returns the mean loss of an answer token in nats."""
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = copy_loss(self.model, collate(examples, LAYOUT))
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.state.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write a checkpoint; an older one stays whole until the new one is."""
        temporary = path.with_suffix(".tmp")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "state": asdict(self.state),
                "settings": asdict(self.settings),
            },
            temporary,
        )
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Resume from a checkpoint. Raises ValueError when it was made with other settings."""
        checkpoint = torch.load(path, weights_only=True)
        if checkpoint["settings"] != asdict(self.settings):
            raise ValueError(
                f"{path} was trained with {checkpoint['settings']}; pass the same settings or another folder"
            )
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.state = TrainState(**checkpoint["state"])


def train(settings: TrainSettings, data: Path, checkpoints: Path) -> Path:
    """Train (or go on training) until `settings.steps`; returns the path of the last checkpoint."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / "decoder.pt"
    tokenizer = load_tokenizer(minilm_directory())
    records, _ = training_records(data)
    trainer = DecoderTrainer(settings, records, tokenizer)
    if path.exists():
        trainer.load(path)
    _run(trainer, path, checkpoints / "loss.jsonl")
    return path


def _run(trainer: DecoderTrainer, path: Path, log_path: Path) -> None:
    state, settings = trainer.state, trainer.settings
    started = time.monotonic() - state.seconds
    mean_loss = 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn()) as progress, log_path.open("a", encoding="utf-8") as log:
        bar = progress.add_task("training", total=settings.steps, completed=state.step)
        for batch in trainer.batches():
            if state.step >= settings.steps:
                break
            loss = trainer.step(batch)
            mean_loss = loss if not mean_loss else 0.98 * mean_loss + 0.02 * loss
            state.seconds = time.monotonic() - started
            progress.update(bar, completed=state.step, description=f"loss {mean_loss:.3f}")
            if state.step % 20 == 0:
                print(json.dumps({"loss": round(mean_loss, 4), **asdict(state)}), file=log, flush=True)
            if state.step % settings.checkpoint_every == 0:
                trainer.save(path)
        trainer.save(path)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a model folder, without the padding and truncation that its file may carry."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the bundled decoder.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FOOTNOTE_DATA", "../shared/data")))
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="folder for checkpoints and the loss log"
    )
    parser.add_argument("--steps", type=int, default=TrainSettings().steps)
    options = parser.parse_args(arguments)
    print(train(TrainSettings(steps=options.steps), options.data, options.checkpoints))


if __name__ == "__main__":
    main()
