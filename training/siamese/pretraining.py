"""Domain-adaptive pre-training of the encoder on the collection's own texts, without labels.

MLM: words are masked and guessed (Gururangan et al., ACL 2020: "Don't stop pretraining"). TSDAE: words are
deleted, and a decoder writes the sentence again from its vector alone (Wang et al., EMNLP findings 2021).
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from embeddings.errors import InvalidInput
from training.siamese.checkpoints import Progress
from training.siamese.cpu_training import fast_training
from training.siamese.denoising import autoencoder, damaged, of_some_words, sentences
from training.siamese.fitting import Watch
from training.siamese.masked_language import MaskedHead, Masker, guess_loss, token_states
from training.siamese.plan import Optimisation, Pretraining
from training.siamese.rates import layer_groups
from training.siamese.swaps import precision_here
from training.siamese.text_training import TextSchedule, TextTrainer, TokenRow, budgeted, token_rows
from training.siamese.types import Corpus, document_of

# More than BERT's 0.15: twice as much is learned from a pass (Wettig et al., EACL 2023; ModernBERT's value).
MASKED_SHARE = 0.3
DELETED_SHARE = 0.6
# A new head learns faster than the layers below it, in so many steps of its own, or a share of theirs.
HEAD_RATE = 2e-3
HEAD_STEPS = 100
HEAD_STEPS_SHARE = 0.25
HELD_OUT_TEXTS = 200
HELD_OUT_SHARE = 0.05
# A decoder guesses each token of a text, so TSDAE's batches hold fewer of them.
TSDAE_TOKENS_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class PretrainingReport:
    """What a pre-training did.

    texts: learned from; held_out: texts of other documents, on which perplexity_before and perplexity_after
    are measured (of masked tokens, or of a sentence's tokens from its vector). Before is with the given
    weights and the new parts: MLM's head, after `head_steps` steps on its own; TSDAE's decoder, not trained.
    ended: "done" or "out of time".
    """

    kind: str
    texts: int
    held_out: int
    head_steps: int
    steps: int
    planned_steps: int
    tokens: int
    seconds: float
    perplexity_before: float
    perplexity_after: float
    ended: str


def pretrain(
    model: SentenceTransformer,
    corpus: Corpus,
    settings: Pretraining,
    optimisation: Optimisation,
    watch: Watch,
) -> PretrainingReport:
    """Pre-train the model in place, or go on where the checkpoint in the watch's folder stands.

    Raises InvalidInput without texts, for a model that cannot learn so, and for a checkpoint of another run;
    RunCancelled with a checkpoint written.
    """
    if settings.kind == "none":
        raise InvalidInput(
            "no pre-training is named", field="pretraining.kind", found="none", expected="mlm or tsdae"
        )
    learned, held_out = _divide(corpus, optimisation.seed)
    kind = _Masked if settings.kind == "mlm" else _Denoising
    torch.manual_seed(optimisation.seed)
    return kind(model, settings, optimisation, watch).run(learned, held_out)


def _divide(corpus: Corpus, seed: int) -> tuple[list[str], list[str]]:
    """Texts to learn from, and those of a few other documents to measure on."""
    documents = sorted({document_of(passage) for passage, text in corpus.items() if text.strip()})
    random.Random(seed).shuffle(documents)
    if len(documents) < 2:
        raise InvalidInput(
            "there is too little text to learn from before fine-tuning",
            field="pretraining.kind",
            found=f"{len(documents)} documents with text",
            expected="2 documents or more",
            next_step="add documents, or leave pre-training out",
        )
    apart = set(documents[: max(1, min(HELD_OUT_TEXTS, round(HELD_OUT_SHARE * len(documents))))])
    texts = {passage: text for passage, text in corpus.items() if text.strip()}
    learned = [text for passage, text in texts.items() if document_of(passage) not in apart]
    held_out = [text for passage, text in texts.items() if document_of(passage) in apart]
    return learned, held_out[:HELD_OUT_TEXTS]


class _Pretrainer:
    """What both kinds share: rows, trainers and the report."""

    def __init__(
        self,
        model: SentenceTransformer,
        settings: Pretraining,
        optimisation: Optimisation,
        watch: Watch,
    ) -> None:
        self._model, self._settings, self._watch = model, settings, watch
        self._optimisation = msgspec.structs.replace(
            optimisation, learning_rate=settings.learning_rate, layer_decay=1.0
        )
        self._precision = precision_here(optimisation.precision)

    def _rows(self, texts: Sequence[str]) -> list[TokenRow]:
        return token_rows(self._model, texts, self._optimisation.max_tokens)

    def _schedule(self, batch_tokens: int) -> TextSchedule:
        return TextSchedule(self._settings.epochs, batch_tokens, self._optimisation)

    def _named(self, name: str) -> Watch:
        return replace(self._watch, name=f"{self._settings.kind}{name}")

    def _perplexity(self, module: nn.Module, rows: Sequence[TokenRow], loss: "Loss") -> float:
        """The mean loss, as e to it, with the same masks each time."""
        module.eval()
        losses, tokens = [], []
        with torch.inference_mode(), fast_training(self._model, self._precision):
            for number, batch in enumerate(budgeted(rows, 1024)):
                torch.manual_seed(number)
                losses.append(float(loss([rows[index] for index in batch])))
                tokens.append(sum(len(rows[index]) for index in batch))
        return round(math.exp(min(np.average(losses, weights=tokens), 50.0)), 3)


Loss = Callable[[Sequence[TokenRow]], Tensor]


class _Masked(_Pretrainer):
    def run(self, learned: Sequence[str], held_out: Sequence[str]) -> PretrainingReport:
        share = self._settings.masked_share or MASKED_SHARE
        self._masker = Masker(self._model.tokenizer, share, self._settings.whole_words)
        self._head = MaskedHead(self._model)
        self._module = nn.ModuleDict({"model": self._model, "head": self._head})
        rows, apart = self._rows(learned), self._rows(held_out)
        schedule = self._schedule(self._settings.batch_tokens)
        head_steps = fit_head(self._model, self._head, rows, self._masker, schedule, self._named("-head"))
        before = self._perplexity(self._module, apart, self._loss)
        groups = layer_groups(self._learning(), self._optimisation)
        trainer = TextTrainer(
            self._model,
            self._module,
            groups,
            rows,
            lambda batch: self._loss([rows[index] for index in batch]),
            schedule,
            self._named(""),
        )
        done = trainer.run()
        after = self._perplexity(self._module, apart, self._loss)
        return _report(
            "mlm", (len(rows), len(apart)), head_steps, done, trainer.planned_steps, (before, after)
        )

    def _learning(self) -> list[tuple[str, nn.Parameter]]:
        """The transformer's weights and the head's; what follows the transformer has no part in it."""
        own = {id(each) for each in [*cast(Any, self._model[0]).parameters(), *self._head.parameters()]}
        return [(name, each) for name, each in self._module.named_parameters() if id(each) in own]

    def _loss(self, rows: Sequence[TokenRow]) -> Tensor:
        given, labels = self._masker(rows)
        states = token_states(self._model, given)
        return guess_loss(self._head, states, labels, self._precision)


def fit_head(
    model: SentenceTransformer,
    head: MaskedHead,
    rows: Sequence[TokenRow],
    masker: Masker,
    schedule: TextSchedule,
    watch: Watch,
) -> int:
    """Train a new head alone, on the states of layers that do not change. Returns the steps taken.

    Its first errors would only spoil the layers below it. A head that came with weights is left alone.
    """
    if head.is_trained:
        return 0

    def loss(batch: Sequence[int]) -> Tensor:
        model.eval()
        given, labels = masker([rows[index] for index in batch])
        with torch.no_grad():
            states = token_states(model, given)
        return guess_loss(head, states, labels, schedule.optimisation.precision)

    steps = round(len(budgeted(rows, schedule.batch_tokens)) * schedule.epochs * HEAD_STEPS_SHARE)
    schedule = replace(schedule, max_steps=max(1, min(HEAD_STEPS, steps)))
    groups = [{"params": head.own_parameters(), "peak": HEAD_RATE, "weight_decay": 0.0}]
    return TextTrainer(model, head, groups, rows, loss, schedule, watch).run().step


class _Denoising(_Pretrainer):
    def run(self, learned: Sequence[str], held_out: Sequence[str]) -> PretrainingReport:
        self._deleted = self._settings.masked_share or DELETED_SHARE
        self._autoencoder = autoencoder(self._model)
        rows, apart = (of_some_words(self._rows(sentences(texts))) for texts in (learned, held_out))
        before = self._perplexity(self._autoencoder, apart, self._loss)
        trainer = TextTrainer(
            self._model,
            self._autoencoder,
            layer_groups(self._autoencoder.named_parameters(), self._optimisation),
            rows,
            lambda batch: self._loss([rows[index] for index in batch]),
            self._schedule(max(1, round(self._settings.batch_tokens * TSDAE_TOKENS_SHARE))),
            self._named(""),
        )
        done = trainer.run()
        after = self._perplexity(self._autoencoder, apart, self._loss)
        return _report("tsdae", (len(rows), len(apart)), 0, done, trainer.planned_steps, (before, after))

    def _loss(self, rows: Sequence[TokenRow]) -> Tensor:
        columns = [self._padded([damaged(row, self._deleted) for row in rows])]
        columns.append(self._padded([row.ids for row in rows]))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._precision == "bf16"):
            return cast(Tensor, self._autoencoder(columns, None))

    def _padded(self, rows: Sequence[NDArray[np.int32]]) -> dict[str, Tensor]:
        tokenizer: Any = self._model.tokenizer
        padded = tokenizer.pad({"input_ids": [row.tolist() for row in rows]}, return_tensors="pt")
        return {name: padded[name] for name in ("input_ids", "attention_mask")}


def _report(
    kind: str,
    texts: tuple[int, int],
    head_steps: int,
    done: Progress,
    planned_steps: int,
    perplexity: tuple[float, float],
) -> PretrainingReport:
    return PretrainingReport(
        kind=kind,
        texts=texts[0],
        held_out=texts[1],
        head_steps=head_steps,
        steps=done.step,
        planned_steps=planned_steps,
        tokens=done.tokens,
        seconds=round(done.seconds, 3),
        perplexity_before=perplexity[0],
        perplexity_after=perplexity[1],
        ended=done.ended or "",
    )
