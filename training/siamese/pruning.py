"""Fewer layers of the same transformer."""

from collections.abc import Sequence
from typing import Any, cast

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import WeightedLayerPooling
from torch import nn

from embeddings.errors import InvalidInput
from training.siamese.layer_mixing import LayerMix


def spread_layers(layers: int, kept: int) -> tuple[int, ...]:
    """So many of the layers, numbered from 0, evenly apart, the first and the last among them.

    One alone is the first, which sees what it was trained on. Raises InvalidInput for more than there are, or
    for none.
    """
    if not 1 <= kept <= layers:
        raise InvalidInput(
            f"cannot keep {kept} of {layers} layers",
            field="layers",
            found=str(kept),
            expected=f"1 to {layers}",
        )
    return tuple(round(number * (layers - 1) / max(kept - 1, 1)) for number in range(kept))


def prune_layers(model: SentenceTransformer, kept: Sequence[int]) -> SentenceTransformer:
    """Leave only these layers, numbered from 0, in the model; it is changed.

    A mix of layers goes too. Raises InvalidInput for layers that it has not, or an architecture whose layers
    are not found.
    """
    transformer: Any = cast(Any, model[0]).auto_model
    config = transformer.config
    number = config.num_hidden_layers
    if not kept or sorted(set(kept)) != list(kept) or not 0 <= kept[0] <= kept[-1] < number:
        raise InvalidInput(
            "these layers cannot be kept",
            field="layers",
            found=", ".join(map(str, kept)) or "none",
            expected=f"numbers from 0 to {number - 1}, in order",
        )
    _keep(transformer, number, kept)
    if getattr(config, "layer_types", None):  # ModernBERT: which layers look how far
        config.layer_types = [config.layer_types[layer] for layer in kept]
    config.num_hidden_layers = len(kept)
    _drop_mixing(model)
    return model


def _keep(transformer: nn.Module, number: int, kept: Sequence[int]) -> None:
    if hasattr(transformer.config, "num_hidden_groups"):  # ALBERT: one set of weights for all its layers
        return
    for parent in transformer.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == number and name in ("layer", "layers"):
                setattr(parent, name, nn.ModuleList([child[layer] for layer in kept]))
                return
    raise InvalidInput(
        "the layers of this architecture are not found",
        field="teacher",
        found=type(transformer).__name__,
        expected="an encoder of a list of layers",
        next_step="name a smaller model as the student",
    )


def _drop_mixing(model: SentenceTransformer) -> None:
    for number in reversed(range(len(model))):
        if isinstance(model[number], (LayerMix, WeightedLayerPooling)):
            del model[number]
    cast(Any, model[0]).auto_model.config.output_hidden_states = False
