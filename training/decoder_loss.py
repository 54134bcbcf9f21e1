"""Batches of examples as tensors, and the loss of the copying decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generation.prompt import ANSWER_SEGMENT, PromptLayout
from training.decoder_data import Example
from training.decoder_model import PAD_SEGMENT, CopyDecoder, attention_mask, copy_context


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded examples. tokens, segments, positions: (B, S).

    at: (B, T) indices of the tokens that predict; targets: (B, T), -1 where padded; sources: (B, T, S)
    places that may be copied; written: (B, T) whether the target may also be written from the vocabulary;
    passage: (B, T) passage named so far.
    """

    tokens: Tensor
    segments: Tensor
    positions: Tensor
    at: Tensor
    targets: Tensor
    sources: Tensor
    written: Tensor
    passage: Tensor


def collate(examples: Sequence[Example], layout: PromptLayout) -> Batch:
    """Pad examples to the longest. Answer tokens follow the prompt, the last target excepted."""
    size = max(example.length for example in examples)
    steps = max(len(example.targets) for example in examples)
    tokens = np.zeros((len(examples), size), dtype=np.int64)
    segments = np.full((len(examples), size), PAD_SEGMENT, dtype=np.int64)
    positions = np.zeros((len(examples), size), dtype=np.int64)
    at = np.zeros((len(examples), steps), dtype=np.int64)
    targets = np.full((len(examples), steps), -1, dtype=np.int64)
    sources = np.zeros((len(examples), steps, size), dtype=bool)
    written = np.zeros((len(examples), steps), dtype=bool)
    passage = np.zeros((len(examples), steps), dtype=np.int64)
    for row, example in enumerate(examples):
        prompt, answer = example.prompt, example.targets
        end, count = len(prompt), len(answer)
        tokens[row, : example.length] = np.concatenate([prompt.token_ids, answer[:-1]])
        segments[row, : example.length] = np.concatenate(
            [prompt.segments, np.full(count - 1, ANSWER_SEGMENT)]
        )
        later = layout.answer_position + np.arange(1, count)
        positions[row, : example.length] = np.concatenate([prompt.positions, later])
        at[row, :count] = end - 1 + np.arange(count)
        targets[row, :count] = answer
        passage[row, 1:count] = example.passage
        for step, places in enumerate(example.sources):
            sources[row, step, list(places)] = True
            written[row, step] = not places
    arrays = (tokens, segments, positions, at, targets, sources, written, passage)
    return Batch(*(torch.from_numpy(array) for array in arrays))


def copy_loss(model: CopyDecoder, batch: Batch) -> Tensor:
    """Mean negative log-likelihood of the targets in nats, summed over all places a target may come from."""
    mask = attention_mask(batch.segments, batch.segments, 0)
    states, _ = model.encode(batch.tokens, batch.positions, batch.segments, mask, None)
    answers = states.gather(1, batch.at[:, :, None].expand(-1, -1, states.shape[-1]))
    context = copy_context(batch.tokens, batch.segments, batch.at, batch.passage)
    real = batch.targets >= 0
    copied = model.copy_head(answers, model.copy_head.key(states), context)[real]  # (N, S)
    written = model.vocabulary_logits(answers[real])  # (N, V): the widest tensor, so only for real targets
    everything = torch.logsumexp(torch.cat([written, copied], dim=-1), dim=-1)
    target_written = written.gather(1, batch.targets[real][:, None])[:, 0]
    target_written = target_written.masked_fill(~batch.written[real], -1e9)
    target_copied = copied.masked_fill(~batch.sources[real], -1e9)
    right = torch.logsumexp(torch.cat([target_written[:, None], target_copied], dim=-1), dim=-1)
    return (everything - right).mean()
