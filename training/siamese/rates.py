"""Learning rates: by layer and over time."""

import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from training.siamese.plan import Optimisation

# encoder.layer.3., layers.3., h.3.
_LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")


def depth(name: str, layers: int) -> int:
    """How high a parameter stands: embeddings 0, the layers from 1 on, what follows them highest."""
    if found := _LAYER.search(name):
        return int(found.group(1)) + 1
    return 0 if "embedding" in name else layers + 1


def layer_groups(parameters: Iterable[tuple[str, Tensor]], settings: Optimisation) -> list[dict[str, Any]]:
    """AdamW's groups. The last layer has the full rate, each one below it `layer_decay` of the one above.

    Norms and biases are not decayed. `peak`: the rate that `rate_factor` scales.
    """
    named = list(parameters)
    layers = max((int(found.group(1)) + 1 for name, _ in named if (found := _LAYER.search(name))), default=0)
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in named:
        groups.setdefault((min(depth(name, layers), layers), parameter.dim() < 2), []).append(parameter)
    rate = settings.learning_rate
    return [
        {
            "params": inside,
            "peak": rate * settings.layer_decay ** (layers - height),
            "weight_decay": 0.0 if plain else settings.weight_decay,
        }
        for (height, plain), inside in sorted(groups.items(), key=lambda item: item[0])
    ]


def rate_factor(step: int, total: int, warmup_share: float) -> float:
    """Of the peak rate at a step (from 0): linear up over the share of the steps, then linear down to 0."""
    warmup = round(total * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return max(0.0, (total - step) / max(1, total - warmup))
