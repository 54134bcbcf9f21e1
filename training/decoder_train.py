"""Trains the bundled decoder in stages, in pieces that resume where the last one stopped.

    footnote train decoder --checkpoints DIR [--minutes 100] [--output DIR]

The recipe: warm start from MiniLM-L6, then the stages of decoder_stages.py; AdamW, linear warm-up and decay
in each stage, gradient clipping, bf16 matrix products with fp32 weights, length-grouped batches of a token
budget, dropout 0.1, refusals and distractor passages mixed in (decoder_data.py).
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from embeddings.errors import FootnoteError
from generation.prompt import PromptLayout
from training.decoder_bundle import build_decoder
from training.decoder_data import Example, ExampleBuilder
from training.decoder_loss import collate, copy_loss
from training.decoder_model import CopyDecoder
from training.decoder_negatives import near_contexts
from training.decoder_recipe import LAYOUT, TrainSettings, load_tokenizer
from training.decoder_stages import AVERAGED, STAGES, Stage, TrainingSets
from training.decoder_stream import ExampleStream
from training.minilm import minilm_directory
from training.warm_start import warm_start

CHECKPOINT = "decoder.pt"


@dataclass(slots=True)
class TrainState:
    """What a checkpoint holds besides weights. stage: its name; step: of the stage; pool, batch: how far the
    stage's examples are used up.
    """

    stage: str
    step: int = 0
    pool: int = 0
    batch: int = 0
    seconds: float = 0.0


class StageTrainer:
    """One stage: the model with an optimiser and a schedule of its own."""

    def __init__(
        self, model: CopyDecoder, stage: Stage, settings: TrainSettings, layout: PromptLayout
    ) -> None:
        self.model = model
        self.stage = stage
        self.settings = settings
        self.layout = layout
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), betas=(0.9, 0.98), fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate_factor)
        self.state = TrainState(stage.name)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Heads start from nothing and learn faster; norms and biases are not decayed."""
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            head = name.startswith(("copy_head", "vocabulary"))
            groups.setdefault((head, parameter.dim() < 2), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": self.stage.head_learning_rate if head else self.stage.learning_rate,
                "weight_decay": 0.0 if plain else self.settings.weight_decay,
            }
            for (head, plain), parameters in groups.items()
        ]

    def _rate_factor(self, step: int) -> float:
        warmup, total, last = self.stage.warmup_steps, self.stage.steps, self.stage.final_share
        rest = max(0.0, (total - step) / max(1, total - warmup))
        return min((step + 1) / warmup, last + (1 - last) * rest)

    def step(self, examples: Sequence[Example]) -> float:
        """One optimiser step; returns the weighted mean loss of a target in nats."""
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

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Go on where a checkpoint of this stage stopped."""
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.state = TrainState(**checkpoint["state"])


@dataclass(frozen=True, slots=True)
class Run:
    """A training run. checkpoints: the folder of its files; out_of_time: asked after each step."""

    settings: TrainSettings
    stages: Sequence[Stage]
    sets: TrainingSets
    checkpoints: Path
    out_of_time: Callable[[], bool] = lambda: False


def train(run: Run) -> bool:
    """Train the stages, or go on with them; returns whether all are done.

    Each stage leaves its weights as `STAGE.pt`, so that another one can be tried from there. An interrupt
    (Ctrl-C) saves a checkpoint before it goes on up.
    """
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.settings.seed)
    model = CopyDecoder(dropout=run.settings.dropout)
    warm_start(model, minilm_directory())
    checkpoint = _load_checkpoint(run)
    names = [stage.name for stage in run.stages]
    first = names.index(checkpoint["state"]["stage"]) if checkpoint else 0
    for stage in run.stages[first:]:
        trainer = StageTrainer(model, stage, run.settings, LAYOUT)
        if checkpoint:
            trainer.load(checkpoint)
            checkpoint = None
        if not _train_stage(trainer, run):
            return False
        torch.save({"model": model.state_dict()}, run.checkpoints / f"{stage.name}.pt")
    return True


def average_stages(checkpoints: Path, shares: Mapping[str, float]) -> Path:
    """Write the weighted mean of finished stages' weights beside them; returns its path."""
    models = [
        (share, torch.load(checkpoints / f"{stage}.pt", weights_only=True)["model"])
        for stage, share in shares.items()
    ]
    mean = {name: sum(share * model[name] for share, model in models) for name in models[0][1]}
    path = checkpoints / "averaged.pt"
    torch.save({"model": mean}, path)
    return path


def _load_checkpoint(run: Run) -> dict[str, Any] | None:
    path = run.checkpoints / CHECKPOINT
    if not path.exists():
        return None
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    if checkpoint["settings"] != asdict(run.settings):
        raise ValueError(
            f"{path} was trained with {checkpoint['settings']}; pass the same settings or another folder"
        )
    return checkpoint


def _stream(trainer: StageTrainer, run: Run) -> ExampleStream:
    tokenizer = load_tokenizer(minilm_directory())
    sources = [(source, source.records(run.sets)) for source in trainer.stage.sources]
    records = [record for _, found in sources for record in found]
    searched = [record for source, found in sources if source.searched for record in found]
    near = near_contexts(searched, run.checkpoints / f"{trainer.stage.name}-near.json")
    builder = ExampleBuilder(tokenizer, trainer.layout, records, near)
    seed = run.settings.seed + [stage.name for stage in run.stages].index(trainer.stage.name)
    return ExampleStream(builder, sources, run.settings.batch_tokens, seed)


def _train_stage(trainer: StageTrainer, run: Run) -> bool:
    """Returns whether the stage is finished; its checkpoint is saved either way."""
    path = run.checkpoints / CHECKPOINT
    try:
        return _run_steps(trainer, run, path)
    finally:
        trainer.save(path)


def _run_steps(trainer: StageTrainer, run: Run, checkpoint: Path) -> bool:
    state, stage = trainer.state, trainer.stage
    if state.step >= stage.steps:
        return True
    mean_loss, started = 0.0, time.monotonic() - state.seconds
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    log_path = run.checkpoints / "loss.jsonl"
    with Progress(*columns, TimeRemainingColumn()) as progress, log_path.open("a", encoding="utf-8") as log:
        bar = progress.add_task(stage.name, total=stage.steps, completed=state.step)
        stream = _stream(trainer, run).batches(state.pool, state.batch)
        for pool, batch, examples in stream:
            loss = trainer.step(examples)
            state.pool, state.batch = pool, batch
            mean_loss = loss if not mean_loss else 0.98 * mean_loss + 0.02 * loss
            state.seconds = time.monotonic() - started
            progress.update(bar, completed=state.step, description=f"{stage.name}: loss {mean_loss:.3f}")
            if state.step % 20 == 0:
                print(json.dumps({"loss": round(mean_loss, 4), **asdict(state)}), file=log, flush=True)
            if state.step % run.settings.checkpoint_every == 0:
                trainer.save(checkpoint)
            if state.step >= stage.steps:
                return True
            if run.out_of_time():
                return False
    return False


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="footnote train decoder", description="Train the bundled decoder.")
    data = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the training sets (%(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="folder for checkpoints and the loss log"
    )
    parser.add_argument(
        "--minutes", type=float, help="stop after so long, with a checkpoint; the same command goes on"
    )
    parser.add_argument("--output", type=Path, help="where to write the artifact when training is done")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # saves a checkpoint, as Ctrl-C does
    try:
        if not train(_run_from(options)):
            sys.exit("stopped in time; the checkpoint is saved, run the same command to go on")
        checkpoint = average_stages(options.checkpoints, AVERAGED)
        print(f"trained: {checkpoint}")
        if options.output:
            manifest = build_decoder(checkpoint, options.output, options.data)
            print(f"written: {options.output}, {manifest.model_id}, {manifest.parity}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the checkpoint is saved, run the same command to go on")
    except (FileNotFoundError, ValueError, FootnoteError) as error:
        sys.exit(f"{error}")


def _run_from(options: argparse.Namespace) -> Run:
    settings = TrainSettings()
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    sets = TrainingSets(options.data, options.checkpoints, settings.seed)
    return Run(settings, STAGES, sets, options.checkpoints, lambda: time.monotonic() > end)


if __name__ == "__main__":
    main()
