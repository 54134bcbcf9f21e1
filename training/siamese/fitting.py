"""The training loop around sentence-transformers' models and losses: it can be stopped and goes on anywhere.

AdamW with linear warm-up and decay, rates by layer (ELECTRA, Clark et al. 2020), clipping, accumulation,
bf16, gradient checkpointing, early stopping on a validation metric, and the mean of old and new weights
(WiSE-FT, Wortsman et al. 2022).

A run that is killed goes on at its last checkpoint with the very batch, optimiser and
random numbers it would have had.
"""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from embeddings.errors import InvalidInput
from training.siamese.batches import Batch, Batches, Tokeniser, collate
from training.siamese.checkpoints import CheckpointFile, LossCurve, Progress, identity_of
from training.siamese.cpu_training import ALONE, LIVE_TOKENS, fast_training, takes_packed
from training.siamese.examples import Example, described, examples_for
from training.siamese.objectives import Choice, choose_objective, make_loss
from training.siamese.pace import Pace
from training.siamese.plan import Objective, Optimisation
from training.siamese.progress import RunCancelled
from training.siamese.rates import layer_groups, rate_factor
from training.siamese.swaps import precision_here
from training.siamese.teachers import guide_of, with_margins
from training.siamese.team import Team
from training.siamese.trained_weights import TrainedWeights
from training.siamese.types import TrainingData
from training.siamese.watch import FitReport, Watch

__all__ = ["FitReport", "Watch", "fit"]

CHECKPOINT_EVERY_S = 30.0
# Of the time that is left after the first evaluation, what the others may take.
EVALUATION_SHARE = 0.15


def fit(
    model: SentenceTransformer,
    data: TrainingData,
    objective: Objective,
    optimisation: Optimisation,
    watch: Watch,
    team: Team = ALONE,
) -> FitReport:
    """Train the model in place, or go on with it where the checkpoint in the watch's folder stands.

    team: of processes that were all given the same. A run that is done is not done again: the model gets its
    weights. With a validation the model ends with
    the weights of the best evaluation, the starting ones among them. Raises InvalidInput when the objective
    does not fit the data, when the folder's checkpoint is of another run, and when the loss is no longer a
    number; RunCancelled with a checkpoint written.
    """
    choice = choose_objective(data)
    if objective.name != "auto":
        choice = Choice(objective.name, "named in the plan")
    chosen = msgspec.structs.replace(objective, name=choice.name)
    examples = examples_for(choice.name, data, optimisation.seed)
    if choice.name == "MarginMSE":
        examples = with_margins(model, examples, chosen, optimisation.max_tokens)
    trainer = _Trainer(model, examples, chosen, optimisation, watch, team)
    trainer.run()
    return trainer.report(choice)


class _Trainer:
    def __init__(
        self,
        model: SentenceTransformer,
        examples: Sequence[Example],
        objective: Objective,
        settings: Optimisation,
        watch: Watch,
        team: Team,
    ) -> None:
        self._model, self._settings, self._watch, self._team = model, settings, watch, team
        self._name = objective.name
        self._examples = examples
        self._tokeniser = Tokeniser(model, settings.max_tokens)
        self._weights = TrainedWeights(model)
        parts = [repr(objective), repr(settings), *described(examples)]
        self._file = CheckpointFile(
            watch.folder, watch.name, identity_of(parts, self._weights.start.values())
        )
        lengths = None if takes_packed(model) or not settings.length_grouped else self._lengths()
        self._batches = Batches(self._name, examples, settings.batch_examples, settings.seed, lengths)
        self._guide = guide_of(model, objective)
        self._loss = make_loss(model, objective, self._guide)
        groups = layer_groups(self._weights.live.items(), settings)
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self._curve = LossCurve(watch.folder)
        self._progress = Progress()
        self._planned = self._planned_steps()
        self._saved_at = 0.0
        self._evaluation_s = 0.0
        self._pace = Pace()

    def _lengths(self) -> list[int]:
        columns = zip(*(each.texts for each in self._examples), strict=True)
        rows = [self._tokeniser.rows(texts, number) for number, texts in enumerate(columns)]
        return [sum(map(len, row)) for row in zip(*rows, strict=True)]

    def _planned_steps(self) -> int:
        batches = len(self._batches.epoch(0))
        if not batches:
            raise InvalidInput(
                f"{self._name} finds no two texts of one class beside one of another",
                field="data",
                found=f"{len(self._examples)} labelled texts",
                expected="at least two texts of most classes",
            )
        steps = math.ceil(batches * self._settings.epochs / self._settings.accumulation)
        return max(1, min(steps, self._settings.max_steps or steps))

    @property
    def _total(self) -> int:
        """Steps that the rates fall to nothing over: as planned, or what there is time for."""
        return min(self._planned, self._progress.fitting or self._planned)

    def run(self) -> None:
        """Train to the end, from the checkpoint where there is one."""
        self._watch.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        if self._progress.ended:
            return
        precision = self._settings.precision
        live_tokens = 0 if self._settings.gradient_checkpointing else LIVE_TOKENS
        with ExitStack() as stack:
            stack.enter_context(fast_training(self._model, precision, self._check, live_tokens, self._team))
            if self._guide is not None:
                stack.enter_context(fast_training(self._guide, precision, self._check))
            try:
                self._train()
            except RunCancelled:
                self._save()
                raise
        self._finish()

    def _resume(self) -> None:
        saved = self._file.load()
        if saved is None:
            self._progress.logged_before = self._curve.last_step
            # Says from where on losses are this run's, should it be killed before its first real checkpoint.
            self._write({}, None)
            return
        self._progress = Progress(**saved["progress"])
        self._weights.put(saved["weights"])
        if saved["optimizer"] is not None:
            self._optimizer.load_state_dict(saved["optimizer"])
        if self._writes:
            self._curve.cut(self._progress.logged_before + self._progress.step)

    def _train(self) -> None:
        progress, began = self._progress, time.monotonic() - self._progress.seconds
        self._saved_at = time.monotonic()
        while not progress.ended:
            late = bool(self._team.agree(self._watch.seconds_left() <= 0))
            if self._is_due(late):
                self._evaluate()
            self._log()
            self._watch.show("steps", progress.step, self._total)
            progress.ended = self._why_ended(late)
            if progress.ended is None:
                self._step()
                progress.seconds = time.monotonic() - began
                self._shorten()
                if time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S:
                    self._save()

    def _shorten(self) -> None:
        """Plan for the time that is left, once the pace is known; after a kill for what is left then."""
        left = self._watch.seconds_left() - self._evaluations * self._evaluation_s
        ahead = self._pace.steps_ahead(self._progress.seconds, left)
        agreed = int(self._team.agree(ahead or 0))
        if agreed:
            self._progress.fitting = self._progress.step + agreed

    def _why_ended(self, late: bool) -> str | None:
        if self._progress.step >= self._total:
            return "done"
        if self._settings.patience and self._progress.stale >= self._settings.patience:
            return "no gain"
        return "out of time" if late else None

    def _log(self) -> None:
        """The line of the last step, once."""
        progress = self._progress
        metric = next((metric for step, metric in progress.metrics[-1:] if step == progress.step), None)
        if self._writes:
            self._curve.add(progress.logged_before + progress.step, progress.last_loss, metric)

    def _step(self) -> None:
        """One optimiser step. Nothing counts as done before the weights have changed."""
        progress, settings = self._progress, self._settings
        torch.manual_seed(settings.seed * 1_000_003 + progress.step)
        self._model.train()
        loss, tokens, place = 0.0, 0, (progress.epoch, progress.batch)
        for _ in range(settings.accumulation):
            batch, place = self._batch_at(place)
            part = self._loss(batch.columns, batch.labels) / settings.accumulation
            part.backward()
            loss += float(part.detach())
            tokens += batch.tokens
        self._change_weights(loss)
        progress.step += 1
        progress.epoch, progress.batch = place
        progress.tokens += tokens
        progress.last_loss = loss
        progress.first_loss = loss if progress.first_loss is None else progress.first_loss

    def _change_weights(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InvalidInput(
                f"the loss is {loss} after {self._progress.step} steps",
                field="optimisation.learning_rate",
                found=str(self._settings.learning_rate),
                expected="a rate at which the loss stays a number",
                next_step="train with a lower learning rate",
            )
        self._team.sum_gradients(self._weights.live.values())
        clip_grad_norm_(self._weights.live.values(), self._settings.clip_norm)
        factor = rate_factor(self._progress.step, self._total, self._settings.warmup_share)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _batch_at(self, place: tuple[int, int]) -> tuple[Batch, tuple[int, int]]:
        """The batch at (epoch, number), and the next one's place."""
        epoch, number = place
        batches = self._batches.epoch(epoch)
        examples = [self._examples[index] for index in batches[number]]
        following = (epoch, number + 1) if number + 1 < len(batches) else (epoch + 1, 0)
        return collate(self._name, examples, self._tokeniser), following

    @property
    def _evaluations(self) -> int:
        """After the one at the start: as many as wanted, or as there is time for."""
        affordable = self._progress.evaluations
        return self._settings.evaluations if affordable is None else affordable

    def _is_due(self, late: bool) -> bool:
        step, metrics, times = self._progress.step, self._progress.metrics, self._evaluations
        if self._watch.validate is None or not times or (metrics and metrics[-1][0] == step):
            return False
        return late or step in {round(self._total * part / times) for part in range(times + 1)}

    def _evaluate(self) -> None:
        """The metric of the weights that would be kept if the training ended now."""
        progress, kept = self._progress, self._weights.averaged(self._settings.averaged)
        began = time.monotonic()
        metric = self._team.agree(self._metric(kept) if self._writes else 0.0)
        self._evaluation_s = time.monotonic() - began
        if progress.evaluations is None:
            progress.evaluations = int(self._team.agree(self._affordable()))
        progress.metrics.append((progress.step, metric))
        if progress.best_metric is not None and metric <= progress.best_metric:
            progress.stale += 1
            return
        progress.best_metric, progress.best_step, progress.stale = metric, progress.step, 0
        if progress.step and self._writes:
            self._file.save_best(progress.step, kept)
            self._save()

    def _metric(self, weights: dict[str, Tensor]) -> float:
        assert self._watch.validate is not None  # noqa: S101
        with self._weights.replaced(weights):
            return float(self._watch.validate(self._model.eval()))

    def _affordable(self) -> int:
        """How many further evaluations there is time for, one at least."""
        wanted, left = self._settings.evaluations, self._watch.seconds_left()
        return max(1, int(min(wanted, EVALUATION_SHARE * left / max(self._evaluation_s, 1e-9))))

    def _finish(self) -> None:
        """Give the model its weights, in the process that has them on its disk."""
        progress = self._progress
        if not self._writes:
            return
        if progress.best_metric is None:
            self._weights.put(self._weights.averaged(self._settings.averaged))
        else:
            best = self._file.load_best(progress.best_step) if progress.best_step else self._weights.start
            self._weights.put(best)
        self._write(self._weights.detached(), None)
        self._model.eval()

    def _save(self) -> None:
        self._write(self._weights.detached(), self._optimizer.state_dict())
        self._saved_at = time.monotonic()

    def _write(self, weights: dict[str, Tensor], optimizer: dict[str, Any] | None) -> None:
        if self._writes:
            self._file.save(self._progress, weights, optimizer)

    @property
    def _writes(self) -> bool:
        """Whether this is the process that reads the clock, writes files and validates."""
        return self._team.rank == 0

    def _check(self) -> None:
        if self._watch.cancelled():
            raise RunCancelled

    def report(self, choice: Choice) -> FitReport:
        """What was done, over all attempts."""
        progress = self._progress
        return FitReport(
            objective=choice.name,
            why=choice.why,
            precision=precision_here(self._settings.precision),
            steps=progress.step,
            planned_steps=self._planned,
            examples=len(self._examples),
            epochs=round(progress.epoch + progress.batch / len(self._batches.epoch(progress.epoch)), 3),
            seconds=round(progress.seconds, 3),
            tokens=progress.tokens,
            first_loss=progress.first_loss,
            last_loss=progress.last_loss,
            best_step=progress.best_step if progress.best_metric is not None else progress.step,
            metrics=tuple((step, metric) for step, metric in progress.metrics),
            ended=progress.ended or "",
        )
