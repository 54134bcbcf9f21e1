"""A training loop on single texts, which pre-training and distillation share.

Batches of a token budget and of neighbours in length, AdamW with linear warm-up and decay, clipping, bf16. It
can be stopped and goes on at its last checkpoint with the very batch, optimiser and random numbers.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from embeddings.errors import InvalidInput
from training.batching import length_grouped_batches
from training.siamese.checkpoints import CheckpointFile, LossCurve, Progress, identity_of
from training.siamese.cpu_training import fast_training
from training.siamese.fitting import CHECKPOINT_EVERY_S, Watch
from training.siamese.pace import Pace
from training.siamese.plan import Optimisation
from training.siamese.progress import RunCancelled
from training.siamese.rates import rate_factor

# Loss of the rows with these numbers.
RowsLoss = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A text's tokens. words: (n,) the number of each token's word, -1 for the special tokens."""

    ids: NDArray[np.int32]
    words: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def token_rows(model: SentenceTransformer, texts: Sequence[str], max_tokens: int) -> list[TokenRow]:
    """Tokens of texts, cut at the limit. Raises InvalidInput for a tokenizer that does not tell words."""
    tokenizer: Any = model.tokenizer
    if not tokenizer.is_fast:
        raise InvalidInput(
            "this model's tokenizer does not tell which tokens are of one word",
            field="base",
            found=type(tokenizer).__name__,
            expected="a fast tokenizer, of the library `tokenizers`",
        )
    limit = min(max_tokens, model.max_seq_length or max_tokens)
    found = tokenizer(list(texts), truncation=True, max_length=limit)
    return [
        TokenRow(
            np.asarray(ids, np.int32),
            np.asarray([-1 if word is None else word for word in found.word_ids(number)], np.int32),
        )
        for number, ids in enumerate(found["input_ids"])
    ]


@dataclass(frozen=True, slots=True)
class TextSchedule:
    """How long and how a loop trains. max_steps: at most so many optimiser steps."""

    epochs: float
    batch_tokens: int
    optimisation: Optimisation
    max_steps: int | None = None


class TextTrainer:
    """Trains some weights by a loss over rows of tokens.

    weights: by name; groups: AdamW's, with the peak of each one's rate as `peak`; the watch's name tells its
    checkpoint from others in the folder.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        module: nn.Module,
        groups: list[dict[str, Any]],
        rows: Sequence[TokenRow],
        loss: RowsLoss,
        schedule: TextSchedule,
        watch: Watch,
    ) -> None:
        trained = {id(weight) for group in groups for weight in group["params"]}
        self._weights = {name: each for name, each in module.named_parameters() if id(each) in trained}
        self._model, self._module, self._loss = model, module, loss
        self._schedule, self._watch = schedule, watch
        self._lengths = [len(row) for row in rows]
        parts = itertools.chain([repr(schedule)], (row.ids.tobytes().hex() for row in rows))
        self._file = CheckpointFile(watch.folder, watch.name, identity_of(parts, self._weights.values()))
        self._optimizer = torch.optim.AdamW(groups, fused=True)
        self._curve = LossCurve(watch.folder)
        self._progress = Progress()
        self._made = -1, list[list[int]]()
        self._pace = Pace()
        accumulation = schedule.optimisation.accumulation
        steps = math.ceil(len(self._epoch(0)) * schedule.epochs / accumulation)
        self._planned = max(1, min(steps, schedule.max_steps or steps))

    @property
    def planned_steps(self) -> int:
        """As planned, or as many as there is time for."""
        return min(self._planned, self._progress.fitting or self._planned)

    def run(self) -> Progress:
        """Train to the end, from the checkpoint where there is one; a loop that is done is not run again.

        Raises InvalidInput when the loss is no longer a number or the folder's checkpoint is of another run,
        RunCancelled with a checkpoint written.
        """
        self._watch.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        if self._progress.ended is None:
            with fast_training(self._model, self._schedule.optimisation.precision, self._check):
                try:
                    self._train()
                except RunCancelled:
                    self._save()
                    raise
            self._file.save(self._progress, self._detached(), None)
        return self._progress

    def _resume(self) -> None:
        saved = self._file.load()
        if saved is None:
            self._progress.logged_before = self._curve.last_step
            return
        self._progress = Progress(**saved["progress"])
        with torch.no_grad():
            for name, each in self._weights.items():
                each.copy_(saved["weights"][name])
        if saved["optimizer"] is not None:
            self._optimizer.load_state_dict(saved["optimizer"])
            self._curve.cut(self._progress.logged_before + self._progress.step)

    def _train(self) -> None:
        progress, began = self._progress, time.monotonic() - self._progress.seconds
        saved_at = time.monotonic()
        while progress.ended is None:
            self._check()
            self._watch.show(f"{self._watch.name} steps", progress.step, self.planned_steps)
            loss = self._step()
            progress.seconds = time.monotonic() - began
            self._curve.add(progress.logged_before + progress.step, loss, None)
            ahead = self._pace.steps_ahead(progress.seconds, self._watch.seconds_left())
            progress.fitting = progress.fitting if ahead is None else progress.step + ahead
            progress.ended = self._why_ended()
            if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                self._save()
                saved_at = time.monotonic()
        self._watch.show(f"{self._watch.name} steps", progress.step, self.planned_steps)

    def _why_ended(self) -> str | None:
        if self._progress.step >= self.planned_steps:
            return "done"
        return "out of time" if self._watch.seconds_left() <= 0 else None

    def _step(self) -> float:
        """One optimiser step. Nothing counts as done before the weights have changed."""
        progress, optimisation = self._progress, self._schedule.optimisation
        torch.manual_seed(optimisation.seed * 1_000_003 + progress.step)
        self._module.train()
        loss, tokens, place = 0.0, 0, (progress.epoch, progress.batch)
        for _ in range(optimisation.accumulation):
            batch, place = self._batch_at(place)
            part = self._loss(batch) / optimisation.accumulation
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
            tokens += sum(self._lengths[row] for row in batch)
        self._change_weights(loss)
        progress.step += 1
        progress.epoch, progress.batch = place
        progress.tokens += tokens
        progress.last_loss = loss
        progress.first_loss = loss if progress.first_loss is None else progress.first_loss
        return loss

    def _batch_at(self, place: tuple[int, int]) -> tuple[list[int], tuple[int, int]]:
        """The batch at (epoch, number), and the next one's place."""
        epoch, number = place
        batches = self._batches(epoch)
        return batches[number], (epoch, number + 1) if number + 1 < len(batches) else (epoch + 1, 0)

    def _change_weights(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InvalidInput(
                f"the loss is {loss} after {self._progress.step} steps",
                field="learning_rate",
                expected="a rate at which the loss stays a number",
                next_step="train with a lower learning rate",
            )
        optimisation = self._schedule.optimisation
        clip_grad_norm_(self._weights.values(), optimisation.clip_norm)
        factor = rate_factor(self._progress.step, self.planned_steps, optimisation.warmup_share)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self._optimizer.step()
        self._module.zero_grad(set_to_none=True)

    def _batches(self, epoch: int) -> list[list[int]]:
        if self._made[0] != epoch:
            self._made = epoch, self._epoch(epoch)
        return self._made[1]

    def _epoch(self, number: int) -> list[list[int]]:
        rng = random.Random(f"{self._schedule.optimisation.seed} {number}")
        return list(length_grouped_batches(self._lengths, self._schedule.batch_tokens, rng))

    def _check(self) -> None:
        if self._watch.cancelled():
            raise RunCancelled

    def _save(self) -> None:
        self._file.save(self._progress, self._detached(), self._optimizer.state_dict())

    def _detached(self) -> dict[str, Tensor]:
        return {name: each.detach() for name, each in self._weights.items()}


def budgeted(rows: Sequence[TokenRow], tokens: int) -> list[list[int]]:
    """Numbers of the rows, short ones first, in batches of a token budget: for measuring."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    starts = list(itertools.accumulate((len(rows[number]) for number in order), initial=0))
    batches: dict[int, list[int]] = {}
    for number, start in zip(order, starts, strict=False):
        batches.setdefault(start // tokens, []).append(number)
    return list(batches.values())
