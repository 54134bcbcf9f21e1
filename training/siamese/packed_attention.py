"""Attention over texts that lie one after another in one row, each seeing only itself.

As cpu_speed's attention, one block of scores at a time, so that it stays in the cache; neighbours of the
same length share a block.
"""

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Scores of a block: those of one text of 256 tokens and 12 heads.
BLOCK_SCORES = 12 * 256 * 256


class Run(NamedTuple):
    """`texts` texts of `length` tokens each from token `start` on."""

    start: int
    texts: int
    length: int


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, runs: Sequence[Run]) -> Tensor:
        output, weights = torch.empty_like(query), []
        for run in runs:
            scores = torch.bmm(_heads(query, run), _heads(key, run).transpose(1, 2))
            weights.append(torch.softmax(scores, -1))
            _put(output, run, torch.bmm(weights[-1], _heads(value, run)))
        ctx.runs = runs
        ctx.save_for_backward(query, key, value, *weights)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, *weights = ctx.saved_tensors
        to_query, to_key, to_value = (torch.empty_like(each) for each in (query, key, value))
        for run, weight in zip(ctx.runs, weights, strict=True):
            gradient = _heads(gradients[0], run)
            _put(to_value, run, torch.bmm(weight.transpose(1, 2), gradient))
            to_weight = torch.bmm(gradient, _heads(value, run).transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_weight, weight, -1, weight.dtype)
            _put(to_query, run, torch.bmm(to_scores, _heads(key, run)))
            _put(to_key, run, torch.bmm(to_scores.transpose(1, 2), _heads(query, run)))
        return to_query, to_key, to_value, None


def packed_attention(query: Tensor, key: Tensor, value: Tensor, ends: Iterable[int]) -> Tensor:
    """Attend within each text. query (scaled already), key, value: (tokens, heads, d), contiguous.

    ends: where texts begin and end, from 0 to the number of tokens. Returns (tokens, heads, d).
    """
    heads = query.shape[1]
    attended: Tensor = _PackedAttention.apply(  # type: ignore[no-untyped-call]
        query, key, value, equal_runs(tuple(ends), heads)
    )
    return attended


@lru_cache(maxsize=16)
def equal_runs(ends: tuple[int, ...], heads: int) -> tuple[Run, ...]:
    """Neighbours of one length together, as far as their scores fit into a block."""
    runs: list[Run] = []
    for start, end in itertools.pairwise(ends):
        length, last = end - start, runs[-1] if runs else None
        if last and last.length == length and (last.texts + 1) * heads * length * length <= BLOCK_SCORES:
            runs[-1] = last._replace(texts=last.texts + 1)
        else:
            runs.append(Run(start, 1, length))
    return tuple(runs)


def _heads(rows: Tensor, run: Run) -> Tensor:
    """The run's part of (tokens, heads, d) as (texts * heads, length, d)."""
    _, heads, size = rows.shape
    part = rows[run.start : run.start + run.texts * run.length]
    if run.texts == 1:
        return part.transpose(0, 1)
    return part.view(run.texts, run.length, heads, size).transpose(1, 2).reshape(-1, run.length, size)


def _put(rows: Tensor, run: Run, values: Tensor) -> None:
    _, heads, size = rows.shape
    part = rows[run.start : run.start + run.texts * run.length].view(run.texts, run.length, heads, size)
    part.transpose(1, 2).copy_(values.view(run.texts, heads, run.length, size))
