"""A student encoder and its training on a teacher's vectors.

Sources: Reimers and Gurevych, EMNLP 2020 (mean squared error); Kim et al., 2023, EmbedDistill (cosine).
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from torch import Tensor

from embeddings.errors import InvalidInput
from generation.sentences import split_sentences
from training.encoder_source import quiet_transformers
from training.siamese.batches import prompts_of
from training.siamese.checkpoints import Progress
from training.siamese.cpu_training import encode_fast, pack
from training.siamese.fitting import Watch
from training.siamese.layer_mixing import open_encoder
from training.siamese.masked_distillation import MaskedStage, learn_words
from training.siamese.plan import Optimisation
from training.siamese.pruning import prune_layers, spread_layers
from training.siamese.rates import layer_groups
from training.siamese.text_training import TextSchedule, TextTrainer, TokenRow, token_rows

HELD_OUT_TEXTS = 500
# A student learns far from where it starts, so faster than a fine-tuned model.
LEARNING_RATE = 3e-4


@dataclass(frozen=True, slots=True)
class Distillation:
    """How a student learns.

    layers: kept of the teacher's; student: folder of another model to train instead. epochs: over the texts
    for the vectors; masked: the stage before it, None: none. distance: between vectors.
    """

    layers: int | None = None
    student: Path | None = None
    epochs: float = 3.0
    masked: MaskedStage | None = None
    distance: Literal["cosine", "mse"] = "cosine"
    batch_tokens: int = 4096
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(learning_rate=LEARNING_RATE, layer_decay=1.0)
    )


@dataclass(frozen=True, slots=True)
class DistillationReport:
    """What came of it.

    cosine_before, cosine_after: mean between the student's and the teacher's vectors of texts that were not
    learned from (of the same directions, where the student's vectors are shorter); speed: tokens a second of
    the student for one of the teacher's.
    """

    texts: int
    held_out: int
    parameters: tuple[int, int]
    speed: float
    masked_steps: int
    steps: int
    seconds: float
    cosine_before: float
    cosine_after: float
    ended: str


def distil(
    teacher_folder: Path, texts: Sequence[str], settings: Distillation, watch: Watch
) -> tuple[SentenceTransformer, DistillationReport]:
    """Train a student, or go on where the checkpoints in the watch's folder stand.

    Raises InvalidInput for settings that do not fit the models and without texts, RunCancelled with a
    checkpoint written.
    """
    if len(texts) < 2:
        raise InvalidInput(
            "there are too few texts to learn from",
            field="texts",
            found=str(len(texts)),
            expected="2 or more",
        )
    torch.manual_seed(settings.optimisation.seed)
    with quiet_transformers():
        teacher = open_encoder(teacher_folder)
        student = _student(teacher_folder, settings)
    return student, _Distiller(teacher.eval(), student, settings, watch).run(texts)


def _student(teacher_folder: Path, settings: Distillation) -> SentenceTransformer:
    if (settings.student is None) == (settings.layers is None):
        raise InvalidInput(
            "say what the student is",
            field="layers",
            found="neither layers nor a student" if settings.layers is None else "layers and a student",
            expected="the number of layers that stay, or the folder of another model",
        )
    if settings.student is not None:
        return open_encoder(settings.student)
    student = open_encoder(teacher_folder)
    kept = spread_layers(
        cast(Any, student[0]).auto_model.config.num_hidden_layers, cast(int, settings.layers)
    )
    return prune_layers(student, kept)


class _Distiller:
    def __init__(
        self, teacher: SentenceTransformer, student: SentenceTransformer, settings: Distillation, watch: Watch
    ) -> None:
        self._teacher, self._student, self._settings, self._watch = teacher, student, settings, watch
        self._precision = settings.optimisation.precision

    def run(self, texts: Sequence[str]) -> DistillationReport:
        """Train the student in place."""
        count = max(1, min(HELD_OUT_TEXTS, len(texts) // 10))
        learned, held_out = _with_sentences(texts[count:]), list(texts[:count])
        rows = self._rows(self._student, learned)
        targets = self._targets(learned, held_out)
        before = self._agreement(held_out, targets[1])
        masked_steps = self._learn_words(learned)
        done = self._learn_vectors(rows, targets[0])
        return DistillationReport(
            texts=len(learned),
            held_out=len(held_out),
            parameters=(_size(self._student), _size(self._teacher)),
            speed=round(self._speed(self._student, held_out) / self._speed(self._teacher, held_out), 2),
            masked_steps=masked_steps,
            steps=done.step,
            seconds=round(done.seconds, 3),
            cosine_before=before,
            cosine_after=self._agreement(held_out, targets[1]),
            ended=done.ended or "",
        )

    def _rows(self, model: SentenceTransformer, texts: Sequence[str]) -> list[TokenRow]:
        prompt = prompts_of(model)[1]
        return token_rows(model, [prompt + text for text in texts], self._settings.optimisation.max_tokens)

    def _vectors(self, model: SentenceTransformer, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = cast(Any, [row.ids for row in self._rows(model, texts)])
        found = encode_fast(model, rows, self._precision)
        return cast(
            NDArray[np.float32], found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        )

    def _targets(
        self, learned: Sequence[str], held_out: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The teacher's unit vectors of both, in as many dimensions as the student's have."""
        found = self._vectors(self._teacher, learned), self._vectors(self._teacher, held_out)
        size = cast(int, self._student.get_embedding_dimension())
        if size > found[0].shape[1]:
            raise InvalidInput(
                "the student's vectors are longer than the teacher's",
                field="student",
                found=f"{size} dimensions",
                expected=f"at most {found[0].shape[1]}",
            )
        return found if size == found[0].shape[1] else _shortened(found, size)

    def _agreement(self, texts: Sequence[str], targets: NDArray[np.float32]) -> float:
        cosines = np.einsum("nd,nd->n", self._vectors(self._student, texts), targets)
        return round(float(cosines.mean()), 4)

    def _speed(self, model: SentenceTransformer, texts: Sequence[str]) -> float:
        began = time.perf_counter()
        self._vectors(model, texts)
        return 1 / (time.perf_counter() - began)

    def _learn_words(self, texts: Sequence[str]) -> int:
        wanted, settings = self._settings.masked, self._settings
        if wanted is None:
            return 0
        schedule = TextSchedule(wanted.epochs, settings.batch_tokens, settings.optimisation)
        return learn_words(self._teacher, self._student, texts, wanted, schedule, self._watch)

    def _learn_vectors(self, rows: Sequence[TokenRow], targets: NDArray[np.float32]) -> Progress:
        loss = EmbedDistillLoss(self._student, distance_metric=self._settings.distance)
        labels = torch.from_numpy(targets)

        def rows_loss(batch: Sequence[int]) -> Tensor:
            features = pack([cast(Any, rows[index].ids) for index in batch])
            return cast(Tensor, loss([features], labels[list(batch)]))

        optimisation = self._settings.optimisation
        schedule = TextSchedule(self._settings.epochs, self._settings.batch_tokens, optimisation)
        groups = layer_groups(self._student.named_parameters(), optimisation)
        watch = replace(self._watch, name="vectors")
        return TextTrainer(self._student, self._student, groups, rows, rows_loss, schedule, watch).run()


def _with_sentences(texts: Sequence[str]) -> list[str]:
    """The texts and a sentence of each, since a student is to encode short queries too."""
    rng = random.Random(len(texts))
    found = [text[slice(*rng.choice(spans))] for text in texts if (spans := split_sentences(text))]
    return list(dict.fromkeys([*texts, *found]))


def _shortened(vectors: tuple[Any, Any], size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors in the directions that keep most of the first ones' dot products."""
    _, directions = np.linalg.eigh(vectors[0].T @ vectors[0])  # by ascending share
    found = [each @ directions[:, -size:] for each in vectors]
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in found)
    return first, second


def _size(model: SentenceTransformer) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
