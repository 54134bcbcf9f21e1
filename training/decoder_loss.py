"""Batches of examples as tensors, and the loss of the copying decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generation.prompt import ANSWER_SEGMENT, PromptLayout
from training.decoder_data import Example
from training.decoder_model import HIDDEN, PAD_SEGMENT, CopyDecoder, attention_mask, copy_context

UNLIKELY = -1e9
ROUNDING = 16  # few sizes of tensors: of thousands, the allocator kept 6 GB after 600 steps


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded examples. tokens, segments, positions: (B, S).

    at: (B, T) indices of the tokens that predict; previous: (B, T) the token before each; targets: (B, T),
    -1 where nothing is learnt; sources: (B, T, S) places that may be copied; written: (B, T) whether the
    target may also be written from the vocabulary; passage: (B, T) passage named so far; weights: (B, T).
    """

    tokens: Tensor
    segments: Tensor
    positions: Tensor
    at: Tensor
    previous: Tensor
    targets: Tensor
    sources: Tensor
    written: Tensor
    passage: Tensor
    weights: Tensor


def collate(examples: Sequence[Example], layout: PromptLayout) -> Batch:
    """Pad examples to the longest, rounded up. Answer tokens follow the prompt, the last one excepted."""
    longest = max(example.length for example in examples)
    size = -(-longest // ROUNDING) * ROUNDING
    steps = max(len(example.targets) for example in examples)
    by_token = (len(examples), size)
    by_step = (len(examples), steps)
    tokens, positions = np.zeros(by_token, dtype=np.int64), np.zeros(by_token, dtype=np.int64)
    segments = np.full(by_token, PAD_SEGMENT, dtype=np.int64)
    at, previous = np.zeros(by_step, dtype=np.int64), np.zeros(by_step, dtype=np.int64)
    targets = np.full(by_step, -1, dtype=np.int64)
    sources = np.zeros((*by_step, size), dtype=bool)
    written = np.zeros(by_step, dtype=bool)
    passage = np.zeros(by_step, dtype=np.int64)
    weights = np.zeros(by_step, dtype=np.float32)
    for row, example in enumerate(examples):
        prompt, count = example.prompt, len(example.targets)
        end, length = len(prompt), example.length
        tokens[row, :length] = np.concatenate([prompt.token_ids, example.tokens[:-1]])
        segments[row, :length] = np.concatenate([prompt.segments, np.full(count - 1, ANSWER_SEGMENT)])
        later = layout.answer_position + np.arange(1, count)
        positions[row, :length] = np.concatenate([prompt.positions, later])
        at[row, :count] = end - 1 + np.arange(count)
        previous[row, 1:count] = tokens[row, end - 1 : length - 1]
        targets[row, :count] = example.targets
        written[row, :count] = example.written
        passage[row, 1:count] = example.passage
        weights[row, :count] = example.weight
        for step, places in enumerate(example.sources):
            sources[row, step, list(places)] = True
    arrays = (tokens, segments, positions, at, previous, targets, sources, written, passage, weights)
    return Batch(*(torch.from_numpy(array) for array in arrays))


def copy_loss(model: CopyDecoder, batch: Batch) -> Tensor:
    """Weighted mean of the targets' negative log-likelihood in nats, summed over all places that a target
    may come from.
    """
    mask = torch.where(attention_mask(batch.segments, batch.segments, 0), 0.0, HIDDEN)
    states, _ = model.encode(batch.tokens, batch.positions, batch.segments, mask, None)
    answers = states.gather(1, batch.at[:, :, None].expand(-1, -1, states.shape[-1]))
    context = copy_context(batch.tokens, batch.segments, batch.at, batch.previous, batch.passage)
    real = batch.targets >= 0
    copied = model.copy_head(answers, model.copy_head.key(states), context)[real]  # (N, S)
    written = model.vocabulary_logits(answers[real])  # (N, V): the widest tensor, so only for real targets
    everything = torch.logaddexp(torch.logsumexp(written, -1), torch.logsumexp(copied, -1))
    target_written = written.gather(1, batch.targets[real][:, None])[:, 0]
    target_written = target_written.masked_fill(~batch.written[real], UNLIKELY)
    target_copied = torch.logsumexp(copied.masked_fill(~batch.sources[real], UNLIKELY), -1)
    surprise = everything - torch.logaddexp(target_written, target_copied)
    weights = batch.weights[real]
    return (surprise * weights).sum() / weights.sum()
