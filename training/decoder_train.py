"""Trains the bundled decoder on question-answering records, in pieces that resume where the last one stopped.

    python -m training.decoder_train --data ../shared/data --checkpoints DIR [--output DIR]

The recipe: warm start from MiniLM-L6, AdamW, linear warm-up and decay, gradient clipping, bf16 matrix
products with fp32 weights, length-grouped batches of a token budget, dropout 0.1, refusals and distractor
passages mixed in (decoder_data.py).
"""

import argparse
import json
import os
import random
import sys
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

from embeddings.errors import FootnoteError
from generation.prompt import PromptLayout
from training.batching import length_grouped_batches
from training.decoder_bundle import build_decoder
from training.decoder_data import Example, ExampleBuilder, MixSettings, QaRecord
from training.decoder_loss import collate, copy_loss
from training.decoder_model import CopyDecoder
from training.decoder_recipe import LAYOUT, TrainSettings, load_tokenizer, training_records
from training.minilm import minilm_directory
from training.warm_start import warm_start


@dataclass(slots=True)
class TrainState:
    """What a checkpoint holds besides weights. epoch_step: batches of the running epoch that are done."""

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    seconds: float = 0.0


class DecoderTrainer:
    """One training run: model, optimiser, schedule and the stream of batches."""

    def __init__(
        self,
        settings: TrainSettings,
        records: Sequence[QaRecord],
        tokenizer: Tokenizer,
        model: CopyDecoder,
        layout: PromptLayout = LAYOUT,
    ) -> None:
        self.settings = settings
        self.records = records
        self.layout = layout
        self.builder = ExampleBuilder(tokenizer, layout, records, MixSettings())
        self.model = model
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
                    self.state.epoch_step = index + 1
                    yield [examples[i] for i in batch]
            self.state.epoch += 1
            self.state.epoch_step = 0

    def step(self, examples: list[Example]) -> float:
        """One optimiser step; returns the mean loss of an answer token in nats."""
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = copy_loss(self.model, collate(examples, self.layout))
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
    """Train (or go on training) until `settings.steps`; returns the path of the last checkpoint.

    An interrupt (Ctrl-C) saves a checkpoint before it goes on up.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / "decoder.pt"
    tokenizer = load_tokenizer(minilm_directory())
    records, _ = training_records(data)
    torch.manual_seed(settings.seed)
    model = CopyDecoder(dropout=settings.dropout)
    warm_start(model, minilm_directory())
    trainer = DecoderTrainer(settings, records, tokenizer, model)
    if path.exists():
        trainer.load(path)
    try:
        _run(trainer, checkpoints / "loss.jsonl", path)
    finally:
        trainer.save(path)
    return path


def _run(trainer: DecoderTrainer, log_path: Path, checkpoint: Path) -> None:
    state, settings = trainer.state, trainer.settings
    started = time.monotonic() - state.seconds
    mean_loss = 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn()) as progress, log_path.open("a", encoding="utf-8") as log:
        bar = progress.add_task("training", total=settings.steps, completed=state.step)
        for batch in trainer.batches():
            if state.step >= settings.steps:
                return
            loss = trainer.step(batch)
            mean_loss = loss if not mean_loss else 0.98 * mean_loss + 0.02 * loss
            state.seconds = time.monotonic() - started
            progress.update(bar, completed=state.step, description=f"loss {mean_loss:.3f}")
            if state.step % 20 == 0:
                print(json.dumps({"loss": round(mean_loss, 4), **asdict(state)}), file=log, flush=True)
            if state.step % settings.checkpoint_every == 0:
                trainer.save(checkpoint)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="footnote train decoder", description="Train the bundled decoder.")
    data = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the training sets (%(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="folder for checkpoints and the loss log"
    )
    parser.add_argument("--steps", type=int, default=TrainSettings().steps, help="in all (%(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the artifact when training is done")
    options = parser.parse_args(arguments)
    try:
        checkpoint = train(TrainSettings(steps=options.steps), options.data, options.checkpoints)
        print(f"trained: {checkpoint}")
        if options.output:
            manifest = build_decoder(checkpoint, options.output, options.data)
            print(f"written: {options.output}, {manifest.model_id}, {manifest.parity}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the checkpoint is saved, run the same command to go on")
    except (FileNotFoundError, ValueError, FootnoteError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
