"""The weights of a model that a training changes, and those it started from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class TrainedWeights:
    """live: the parameters that are trained; start: a copy of them as they were."""

    def __init__(self, model: nn.Module) -> None:
        self.live = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self.start = {name: each.detach().clone() for name, each in self.live.items()}

    def detached(self) -> dict[str, Tensor]:
        """The weights as they are, not copied."""
        return {name: each.detach() for name, each in self.live.items()}

    def averaged(self, share: float) -> dict[str, Tensor]:
        """Mean of the weights now, with this share, and those at the start (WiSE-FT, eq. 1)."""
        return {name: torch.lerp(self.start[name], each, share) for name, each in self.detached().items()}

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Give the model these weights; those not named stay."""
        for name, each in weights.items():
            self.live[name].detach().copy_(each)

    @contextmanager
    def replaced(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """The model with these weights for a while."""
        former = {name: each.clone() for name, each in self.detached().items()}
        self.put(weights)
        try:
            yield
        finally:
            self.put(former)
