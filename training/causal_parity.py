"""Compares a decoder's graph with its original, and a quantised graph with the fp32 one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.errors import ModelDamaged
from generation.causal.model import CausalModel, PassRunner
from generation.causal.slots import SlotBuffer
from training.causal_blueprint import Floats
from training.parity_texts import ParityTexts

FP32_VS_ORIGINAL = "fp32_vs_original"
# Tokens of each language that the original reads; the last are read by the graph one at a time.
_COMPARED_TOKENS = 192
_CHUNK = 48
_STEPS = 16
# Tokens of each language that perplexity is measured on, and of a piece that is read by itself.
_MEASURED_TOKENS = 4_096
_PIECE = 256


@dataclass(frozen=True, slots=True)
class LogitParity:
    """The fp32 graph against the original: how many tokens, and the largest difference of two logits."""

    tokens: int
    largest_difference: float


@dataclass(frozen=True, slots=True)
class Perplexity:
    """A quantised graph against fp32. ratio: of its perplexity to fp32's; same_choice: share of tokens after
    which both hold the same next token the likeliest.
    """

    tokens: int
    fp32: float
    quantised: float
    same_choice: float

    @property
    def ratio(self) -> float:
        """Above 1 the quantised graph is the worse one."""
        return self.quantised / self.fp32


@dataclass(frozen=True, slots=True)
class CausalBounds:
    """What a conversion may change. ratio: of perplexities over all texts together."""

    logit_difference: float = 1e-3
    perplexity_ratio: float = 1.05


def compare_with_original(
    original: Any, graph: CausalModel, texts: Sequence[ParityTexts]
) -> dict[str, LogitParity]:
    """By language: chunks of a prompt, then steps of all languages at once, against one pass of the original.

    So the prefill over a filled buffer, ragged lengths and neighbouring slots are all in the figure.
    """
    limit = min(_COMPARED_TOKENS, graph.spec.context_tokens)
    # Ragged: each sequence is a little shorter than the one before.
    rows = [tokens[: limit - 3 * place] for place, tokens in enumerate(_token_ids(graph, texts))]
    slots = SlotBuffer(graph.spec.state, len(rows), limit)
    runner = PassRunner(graph, slots)
    expected = [_original_logits(original, row) for row in rows]
    steps = min(_STEPS, *(len(row) - 1 for row in rows))
    worst = [
        _prefill_difference(runner, slots, row[:-steps], logits)
        for row, logits in zip(rows, expected, strict=True)
    ]
    for step in range(steps, 0, -1):
        logits = runner.run(0, np.stack([row[-step:][:1] for row in rows]), np.zeros(1, dtype=np.int64))
        slots.lengths += 1
        for place, each in enumerate(expected):
            worst[place] = max(worst[place], _difference(logits[place, 0], each[-step]))
    return {
        sample.language: LogitParity(len(row), difference)
        for sample, row, difference in zip(texts, rows, worst, strict=True)
    }


def _prefill_difference(
    runner: PassRunner, slots: SlotBuffer, tokens: NDArray[np.int64], expected: Floats
) -> float:
    slot, worst = slots.take(), 0.0
    for start in range(0, len(tokens), _CHUNK):
        chunk = tokens[start : start + _CHUNK]
        logits = runner.run(slot, chunk[None], np.arange(len(chunk)))
        slots.lengths[slot] += len(chunk)
        worst = max(worst, _difference(logits[0], expected[start : start + len(chunk)]))
    return worst


def _difference(found: Floats, expected: Floats) -> float:
    """NaN anywhere makes it infinite, so that no bound lets it pass."""
    worst = float(np.max(np.abs(found - expected)))
    return worst if math.isfinite(worst) else math.inf


def _original_logits(original: Any, tokens: NDArray[np.int64]) -> Floats:
    with torch.no_grad():
        logits: Floats = original(torch.from_numpy(tokens)[None], use_cache=False).logits[0].float().numpy()
    return logits


def compare_perplexity(
    fp32: CausalModel, quantised: CausalModel, texts: Sequence[ParityTexts]
) -> dict[str, Perplexity]:
    """By language, each text of it once."""
    found = {}
    for sample, tokens in zip(texts, _token_ids(fp32, texts), strict=True):
        pieces = list(_pieces(fp32, tokens[:_MEASURED_TOKENS]))
        first, second = (_Reading.of(model, pieces) for model in (fp32, quantised))
        found[sample.language] = Perplexity(
            tokens=first.tokens,
            fp32=math.exp(first.loss),
            quantised=math.exp(second.loss),
            same_choice=float(np.mean(first.choices == second.choices)),
        )
    return found


def overall(figures: Mapping[str, Perplexity]) -> Perplexity:
    """All languages as one text."""
    tokens = [each.tokens for each in figures.values()]

    def mean(values: list[float]) -> float:
        return float(np.average(values, weights=tokens))

    return Perplexity(
        tokens=sum(tokens),
        fp32=math.exp(mean([math.log(each.fp32) for each in figures.values()])),
        quantised=math.exp(mean([math.log(each.quantised) for each in figures.values()])),
        same_choice=mean([each.same_choice for each in figures.values()]),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """loss: mean negative log-likelihood, natural logarithm; choices: likeliest token at each place."""

    loss: float
    choices: NDArray[np.int64]

    @property
    def tokens(self) -> int:
        return len(self.choices)

    @classmethod
    def of(cls, model: CausalModel, pieces: Sequence[NDArray[np.int64]]) -> "_Reading":
        slots = SlotBuffer(model.spec.state, 1, _PIECE)
        runner, slot = PassRunner(model, slots), slots.take()
        losses, choices = [], []
        for piece in pieces:
            slots.lengths[slot] = 0
            logits = runner.run(slot, piece[None, :-1], np.arange(len(piece) - 1))[0]
            losses.append(_losses(logits, piece[1:]))
            choices.append(logits.argmax(axis=1))
        return cls(float(np.concatenate(losses).mean()), np.concatenate(choices))


def _losses(logits: Floats, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(targets)), targets]
    losses: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - chosen
    return losses


def _pieces(model: CausalModel, tokens: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Neighbours share a token: the last of one is the first of the next, which nothing predicts."""
    size = min(_PIECE, model.spec.context_tokens) - 1
    for start in range(0, len(tokens) - 1, size):
        yield tokens[start : start + size + 1]


def _token_ids(model: CausalModel, texts: Sequence[ParityTexts]) -> list[NDArray[np.int64]]:
    joined = ["\n".join((*each.passages, *each.queries, *each.calibration)) for each in texts]
    return [np.asarray(model.tokenizer.encode(text).ids, dtype=np.int64) for text in joined]


def require_logits(figures: Mapping[str, LogitParity], bounds: CausalBounds) -> None:
    """Raise ModelDamaged when the fp32 graph strays from the original."""
    language, worst = max(figures.items(), key=lambda each: each[1].largest_difference)
    if worst.largest_difference > bounds.logit_difference:
        raise ModelDamaged(
            f"the fp32 graph does not say what the original says: on {language} texts two logits differ by"
            f" {worst.largest_difference:.1e}, more than {bounds.logit_difference:.1e}",
            found=f"{worst.largest_difference:.1e}",
            expected=f"at most {bounds.logit_difference:.1e}",
            next_step="give --fp32-difference where the model's own logits are large; else report the model",
        )


def require_perplexity(figures: Mapping[str, Perplexity], bounds: CausalBounds) -> None:
    """Raise ModelDamaged when the quantised graph predicts the texts too much worse."""
    found = overall(figures)
    # Written so that NaN fails too.
    if not found.ratio <= bounds.perplexity_ratio:
        raise ModelDamaged(
            f"quantising costs too much: perplexity {found.quantised:.4g} against {found.fp32:.4g} in fp32 is"
            f" {found.ratio:.3f} times as much, more than {bounds.perplexity_ratio:g}",
            found=f"{found.ratio:.3f}",
            expected=f"at most {bounds.perplexity_ratio:g}",
            next_step="try --scheme affine, a smaller --block, --precision int8 or fp32, or texts of your"
            " field with --texts; --perplexity-ratio sets a bound that your use can bear",
        )
