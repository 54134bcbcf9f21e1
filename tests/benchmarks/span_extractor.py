"""The baseline that the bundled decoder is measured against: MiniLM fine-tuned as a plain span extractor.

    python -m tests.benchmarks.span_extractor [--checkpoints .bench/span-extractor] [--max-minutes 90]

The same weights to start from, the same questions, transformers' own question-answering head: a span's start
and end, no answer at [CLS]. AdamW, linear warm-up and decay, bf16 autocast, batches without padding. It runs
in pieces: stopped by SIGTERM, Ctrl-C or --max-minutes it saves a checkpoint and ends with 3, and the same
command goes on from there; it ends with 0 when the training is done.
"""

import json
import os
import random
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.span_windows import Window, training_windows
from training.batching import length_grouped_batches
from training.decoder_data import QaRecord, load_records
from training.decoder_recipe import SPAN_FILES, existing, held_out
from training.minilm import minilm_directory
from training.siamese.swaps import PACKED_ATTENTION, byte_dropout_in

CHECKPOINTS = WORKPLACE / "span-extractor"
CHECKPOINT = "extractor.pt"


@dataclass(frozen=True, slots=True)
class Settings:
    """batch_tokens: padded tokens a step; warmup: share of all steps."""

    epochs: int = 3
    batch_tokens: int = 4096
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 7


def split_records(data: Path) -> tuple[list[QaRecord], list[QaRecord]]:
    """What the bundled decoder learns spans from, and what it never sees. Raises FileNotFoundError."""
    records = [record for name in SPAN_FILES for record in load_records(existing(data, name))]
    seen = [record for record in records if not held_out(record.group)]
    return seen, [record for record in records if held_out(record.group)]


class Trainer:
    """One training run: the batches of all epochs are planned ahead, so a resumed run sees the same ones."""

    def __init__(self, windows: Iterable[Window], settings: Settings, model: Any) -> None:
        self.settings, self.model = settings, model
        model.set_attn_implementation(PACKED_ATTENTION)
        self.windows = [replace(window, offsets=[]) for window in windows]  # half a gigabyte of them
        self.plan = [batch for epoch in range(settings.epochs) for batch in self._epoch(epoch)]
        self.optimizer = torch.optim.AdamW(self._groups(), lr=settings.learning_rate)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step, self.seconds = 0, 0.0

    def _epoch(self, epoch: int) -> list[list[int]]:
        rng = random.Random(self.settings.seed * 1000 + epoch)
        lengths = [len(window) for window in self.windows]
        return list(length_grouped_batches(lengths, self.settings.batch_tokens, rng))

    def _groups(self) -> list[dict[str, Any]]:
        """Norms and biases are not decayed."""
        parameters = list(self.model.parameters())
        return [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.settings.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]

    def _rate(self, step: int) -> float:
        total = len(self.plan)
        warmup = max(1, round(self.settings.warmup * total))
        return min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))

    def train_step(self) -> float:
        """The next optimiser step; returns the loss in nats."""
        batch = [self.windows[index] for index in self.plan[self.step]]
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model(**pack_windows(batch))
        lengths = [len(window) for window in batch]
        starts = _span_loss(logits.start_logits, lengths, [window.start for window in batch])
        ends = _span_loss(logits.end_logits, lengths, [window.end for window in batch])
        loss = (starts + ends) / 2
        loss.backward()
        clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write a checkpoint; an older one stays whole until the new one is."""
        partial = path.with_suffix(".tmp")
        state = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        counts = {"step": self.step, "steps": len(self.plan), "seconds": self.seconds}
        torch.save({**state, **counts, "settings": asdict(self.settings)}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises ValueError when it is of another run."""
        found = torch.load(path, weights_only=True)
        if found["settings"] != asdict(self.settings) or found["steps"] != len(self.plan):
            raise ValueError(f"{path} is of a run of {found['steps']} steps with {found['settings']}")
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(found[name])
        self.step, self.seconds = found["step"], found["seconds"]


def pack_windows(windows: Sequence[Window]) -> dict[str, torch.Tensor]:
    """Windows one after another in one row, each seeing only itself: nothing is padded."""
    lengths = [len(window) for window in windows]
    row = {
        "input_ids": [token for window in windows for token in window.ids],
        "token_type_ids": [kind for window in windows for kind in window.types],
        "position_ids": [place for length in lengths for place in range(length)],
    }
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    return {name: torch.tensor([values]) for name, values in row.items()} | {"cu_seq_lens_q": ends}


def _span_loss(logits: torch.Tensor, lengths: Sequence[int], places: Sequence[int]) -> torch.Tensor:
    """Mean cross entropy in nats, as transformers' head has it: the softmax goes over one window."""
    of_windows = logits[0].float().split(list(lengths))
    return -torch.stack(
        [row.log_softmax(0)[place] for row, place in zip(of_windows, places, strict=True)]
    ).mean()


class StopSignal:
    """Set by SIGTERM or Ctrl-C; the step that runs is finished first."""

    arrived = False

    def listen(self) -> None:
        """From now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._arrive)

    def _arrive(self, *_: object) -> None:
        self.arrived = True


def train(trainer: Trainer, folder: Path, stop: StopSignal, most_steps: int, most_seconds: float) -> None:
    """Train until the end of the plan, a signal, or one of the limits of this piece; then save."""
    started, first = time.monotonic() - trainer.seconds, trainer.step
    piece_end = time.monotonic() + most_seconds
    mean = 0.0
    with (folder / "loss.jsonl").open("a", encoding="utf-8") as log:
        while trainer.step < min(len(trainer.plan), first + most_steps):
            loss = trainer.train_step()
            mean = loss if not mean else 0.98 * mean + 0.02 * loss
            trainer.seconds = time.monotonic() - started
            if trainer.step % 20 == 0:
                row = {"step": trainer.step, "loss": round(mean, 4), "seconds": round(trainer.seconds, 1)}
                print(json.dumps(row), file=log, flush=True)
            if trainer.step % 100 == 0:
                trainer.save(folder / CHECKPOINT)
            if stop.arrived or time.monotonic() > piece_end:
                break
    trainer.save(folder / CHECKPOINT)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m tests.benchmarks.span_extractor", description=__doc__)
    data = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the training sets (%(default)s)")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=Settings().epochs, help="(%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=Settings().learning_rate, help="(%(default)s)")
    parser.add_argument("--max-minutes", type=float, default=100, help="of this piece (%(default)s)")
    parser.add_argument("--max-steps", type=int, default=10**9, help="of this piece")
    options = parser.parse_args(arguments)
    stop = StopSignal()
    stop.listen()
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    records, _ = split_records(options.data)
    windows = training_windows(AutoTokenizer.from_pretrained(minilm_directory()), records)
    settings = Settings(epochs=options.epochs, learning_rate=options.learning_rate)
    torch.manual_seed(settings.seed)
    model = AutoModelForQuestionAnswering.from_pretrained(minilm_directory())
    trainer = Trainer(windows, settings, model)
    if (options.checkpoints / CHECKPOINT).is_file():
        trainer.load(options.checkpoints / CHECKPOINT)
    with byte_dropout_in(model):
        train(trainer, options.checkpoints, stop, options.max_steps, options.max_minutes * 60)
    done, total = trainer.step, len(trainer.plan)
    print(f"{done} of {total} steps in {trainer.seconds:.0f} s: {options.checkpoints}")
    sys.exit(0 if done == total else 3)


if __name__ == "__main__":
    main()
