"""DistilBERT's stage of distillation: a student learns to guess masked words as its teacher does.

Source: Sanh et al., 2019, "DistilBERT, a distilled version of BERT"; the weights of the three losses and the
temperature are those of its released training script.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div, log_softmax, softmax

from embeddings.errors import InvalidInput
from training.siamese.cpu_training import fast_training
from training.siamese.fitting import Watch
from training.siamese.masked_language import IGNORED, MaskedHead, Masker, token_states
from training.siamese.pretraining import MASKED_SHARE, fit_head
from training.siamese.rates import layer_groups
from training.siamese.swaps import precision_here
from training.siamese.text_training import TextSchedule, TextTrainer, token_rows


@dataclass(frozen=True, slots=True)
class MaskedStage:
    """soft, hard, cosine: weights of the three losses; temperature: that evens the soft targets out."""

    epochs: float
    soft: float = 5.0
    hard: float = 2.0
    cosine: float = 1.0
    temperature: float = 2.0


@dataclass(frozen=True, slots=True)
class ThreeLosses:
    """soft: the teacher's guesses, times the temperature squared; hard: the masked words; cosine: states."""

    soft: Tensor
    hard: Tensor
    cosine: Tensor

    def weighted(self, stage: MaskedStage) -> Tensor:
        """Their sum by the stage's weights."""
        return stage.soft * self.soft + stage.hard * self.hard + stage.cosine * self.cosine


def three_losses(
    scores: tuple[Tensor, Tensor], states: tuple[Tensor, Tensor], labels: Tensor, temperature: float
) -> ThreeLosses:
    """The losses of a student and its teacher, in this order in each pair.

    scores (guessed, V), states (tokens, D), labels (guessed,): the words that were masked.
    """
    student, teacher = (each.float() / temperature for each in scores)
    soft = kl_div(log_softmax(student, -1), softmax(teacher, -1), reduction="sum") * temperature**2
    hard = cross_entropy(scores[0].float(), labels, reduction="sum")
    cosine = (1 - cosine_similarity(states[0].float(), states[1].float(), dim=-1)).mean()
    count = max(len(labels), 1)
    return ThreeLosses(soft / count, hard / count, cosine)


def learn_words(
    teacher: SentenceTransformer,
    student: SentenceTransformer,
    texts: Sequence[str],
    stage: MaskedStage,
    schedule: TextSchedule,
    watch: Watch,
) -> int:
    """Train the student's transformer in place; returns the steps. A new head of the teacher's comes first.

    Raises InvalidInput for a student of other tokens or another width, RunCancelled with a checkpoint.
    """
    _check_alike(teacher, student)
    rows = token_rows(student, texts, schedule.optimisation.max_tokens)
    masker, head = Masker(teacher.tokenizer, MASKED_SHARE, whole_words=True), MaskedHead(teacher)
    fit_head(teacher, head, rows, masker, schedule, replace(watch, name="teacher-head"))
    own = copy.deepcopy(head)  # the student's layers begin as the teacher's, so its head fits
    own.tie(student)
    pair = _Pair(
        teacher.eval(), head.eval(), student, own, stage, precision_here(schedule.optimisation.precision)
    )

    def loss(batch: Sequence[int]) -> Tensor:
        given, labels = masker([rows[index] for index in batch])
        return pair.loss(given, labels)

    module = nn.ModuleDict({"model": cast(Any, student)[0], "head": own})
    groups = layer_groups(module.named_parameters(), schedule.optimisation)
    watch = replace(watch, name="words")
    with fast_training(teacher, schedule.optimisation.precision):
        return TextTrainer(student, module, groups, rows, loss, schedule, watch).run().step


@dataclass(frozen=True, slots=True)
class _Pair:
    teacher: SentenceTransformer
    head: MaskedHead
    student: SentenceTransformer
    own: MaskedHead
    stage: MaskedStage
    precision: str

    def loss(self, given: Sequence[Any], labels: Tensor) -> Tensor:
        wanted = labels != IGNORED
        states = token_states(self.student, given)
        with torch.no_grad():
            wise = token_states(self.teacher, given)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            with torch.no_grad():
                wise_scores = self.head(wise[wanted])
            scores = self.own(states[wanted])
        losses = three_losses((scores, wise_scores), (states, wise), labels[wanted], self.stage.temperature)
        return losses.weighted(self.stage)


def _check_alike(teacher: SentenceTransformer, student: SentenceTransformer) -> None:
    tokens = [cast(Any, each.tokenizer).get_vocab() for each in (teacher, student)]
    widths = [cast(Any, each[0]).auto_model.config.hidden_size for each in (teacher, student)]
    if tokens[0] != tokens[1] or widths[0] != widths[1]:
        raise InvalidInput(
            "the student cannot guess words as this teacher does",
            field="masked_epochs",
            found="a student of other tokens or another width",
            expected="a student made of the teacher's layers",
            next_step="leave the masked-language stage out",
        )
