"""Processes that train one model together: each runs a part of every batch, and all take the same step.

The vectors of a batch are gathered before the loss, so that it sees all in-batch negatives, and each process
takes back the gradient of its own rows alone. So the step is that of one process with the whole batch,
whatever the number of processes, but for rounding and for dropout's draws.
Source of the gathering: Chen et al., "A simple framework for contrastive learning of visual representations",
2020, whose batches are shared by many machines.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed


class Team(Protocol):
    """rank: of this process, from 0; the first one reads the clock, writes files and validates."""

    rank: int

    def own(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places in a batch, of those given in the order of their lengths, that this process runs."""

    def gather(self, own: Tensor | None, order: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """The vectors of all places, (n, d), and the place of each. own: of this process's, None of none."""

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """Give all weights the sum of the gradients of all processes."""

    def agree(self, value: float) -> float:
        """What the first process says."""


class Alone:
    """A team of one."""

    rank = 0

    def own(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        return order

    def gather(self, own: Tensor | None, order: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        assert own is not None  # noqa: S101 - a batch has texts
        return own, order

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """There is nothing to add."""

    def agree(self, value: float) -> float:
        return value


class ProcessTeam:
    """The processes of torch's process group. dimension: of the model's vectors."""

    def __init__(self, dimension: int) -> None:
        self.rank = distributed.get_rank()
        self._size = distributed.get_world_size()
        self._dimension = dimension

    def own(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Every n-th: each process gets texts of all lengths."""
        return order[self.rank :: self._size]

    def gather(self, own: Tensor | None, order: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        shares = [order[rank :: self._size] for rank in range(self._size)]
        given = torch.zeros(0, self._dimension) if own is None else own
        gathered: Any = _Gathered.apply  # torch does not type it
        vectors: Tensor = gathered(given, self.rank, [len(share) for share in shares])
        return vectors, np.concatenate(shares)

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        trained = list(weights)
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in trained]
        whole = torch.cat([part.reshape(-1) for part in parts])
        distributed.all_reduce(whole)
        start = 0
        for each in trained:
            each.grad = whole[start : start + each.numel()].view_as(each)
            start += each.numel()

    def agree(self, value: float) -> float:
        said = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(said, 0)
        return float(said)


class _Gathered(torch.autograd.Function):
    """Rows of all processes, one process after the other."""

    @staticmethod
    def forward(context: Any, own: Tensor, rank: int, counts: list[int]) -> Tensor:
        context.rows = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        rows = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(rows, padded)
        return torch.cat([each[:count] for each, count in zip(rows, counts, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Every process has the whole loss: its own rows' part of the gradient is all that is its own."""
        return gradients[0][context.rows], None, None
