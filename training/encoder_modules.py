"""The torch module that becomes the graph: a transformer, its pooling, and what comes after.

It computes what sentence-transformers computes, for rows that are padded on the right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
    Transformer,
    WeightedLayerPooling,
)
from torch import Tensor, nn

from embeddings.errors import ModelDamaged
from training.siamese.layer_mixing import LayerMix

_SENTENCE = "sentence_embedding"
_MODULES = (
    "Transformer, WeightedLayerPooling or LayerMix, Pooling, then any of Dense, LayerNorm, Normalize, Dropout"
)
Pool = Callable[[Tensor, Tensor], Tensor]  # states (B, S, D) and mask (B, S) to (B, D)


class SentenceEncoder(nn.Module):
    """Token ids and mask (B, S) to sentence vectors (B, D), not normalised.

    layer_weights: of the states of all layers, embeddings first, with 0 for those left out; none: the last
    layer's alone. tail: modules from (B, D) to (B, D').
    """

    def __init__(
        self,
        transformer: nn.Module,
        poolings: Sequence[str],
        layer_weights: Sequence[float] = (),
        tail: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.poolings = tuple(poolings)
        self.layer_weights = tuple(layer_weights)
        self.tail = nn.Sequential(*tail)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self._states(input_ids, attention_mask)
        pooled = [POOLINGS[name](states, attention_mask) for name in self.poolings]
        return cast(Tensor, self.tail(torch.cat(pooled, dim=-1) if len(pooled) > 1 else pooled[0]))

    def _states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        if not self.layer_weights:
            output = self.transformer(input_ids=input_ids, attention_mask=attention_mask)
            return cast(Tensor, output.last_hidden_state)
        output = self.transformer(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        )
        weighted = [
            weight * states
            for weight, states in zip(self.layer_weights, output.hidden_states, strict=True)
            if weight != 0
        ]
        return cast(Tensor, sum(weighted[1:], weighted[0]))


def _first(states: Tensor, _mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    positions = mask.sum(dim=1, keepdim=True) - 1  # (B, 1)
    return states.gather(1, positions.unsqueeze(-1).expand(-1, 1, states.shape[-1])).squeeze(1)


def _largest(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)  # (B, S, 1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def _mean_by_root(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9).sqrt()


def _mean_by_position(states: Tensor, mask: Tensor) -> Tensor:
    # Rows are padded on the right, so tokens seen so far are a token's position, counted from 1.
    weights = (mask.cumsum(dim=1) * mask).unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


# By their names in sentence-transformers.
POOLINGS: dict[str, Pool] = {
    "cls": _first,
    "max": _largest,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_by_root,
    "weightedmean": _mean_by_position,
    "lasttoken": _last,
}


class _Projection(nn.Module):
    """A Dense module on plain tensors."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.linear = dense.linear
        self.activation = dense.activation_function
        self.adds_input = dense.use_residual
        self.shortcut = getattr(dense, "residual", nn.Identity())

    def forward(self, rows: Tensor) -> Tensor:
        projected = self.activation(self.linear(rows))
        return cast(Tensor, projected + self.shortcut(rows) if self.adds_input else projected)


class _UnitLength(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.normalize(rows, dim=-1)


@dataclass(frozen=True, slots=True)
class Assembly:
    """A sentence-transformers model as one module. description: its poolings and tail, for people."""

    encoder: SentenceEncoder
    dimension: int
    description: str


def assemble(modules: Sequence[nn.Module], has_prompts: bool) -> Assembly:
    """Rebuild a model's modules as one, without the normalisation at its end.

    has_prompts: whether a text may go with a prompt. Raises ModelDamaged for a module, an order of modules
    or a setting that cannot be converted.
    """
    rest = list(modules)
    transformer = _take(rest, Transformer, modules)
    layers = rest.pop(0) if rest and isinstance(rest[0], (WeightedLayerPooling, LayerMix)) else None
    pooling = _take(rest, Pooling, modules)
    _check_settings(transformer, pooling, has_prompts)
    while rest and isinstance(rest[-1], (Normalize, Dropout)):
        rest.pop()
    tail = [_tail_module(module, modules) for module in rest if not isinstance(module, Dropout)]
    names = (pooling.pooling_mode,) if isinstance(pooling.pooling_mode, str) else pooling.pooling_mode
    weights = () if layers is None else _layer_weights(layers, transformer)
    encoder = SentenceEncoder(transformer.auto_model, names, weights, tail).eval()
    parts = [*(["weighted layers"] if weights else []), " + ".join(names), *map(_describe, tail)]
    return Assembly(encoder, _dimension(pooling, rest), ", ".join(parts))


def _take(rest: list[nn.Module], kind: type[nn.Module], modules: Sequence[nn.Module]) -> Any:
    if not rest or not isinstance(rest[0], kind):
        raise _refused(f"modules {', '.join(type(module).__name__ for module in modules)}", _MODULES)
    return rest.pop(0)


def _check_settings(transformer: Any, pooling: Any, has_prompts: bool) -> None:
    text = transformer.modality_config.get("text")
    if text != {"method": "forward", "method_output_name": "last_hidden_state"}:
        raise _refused(f"a transformer that gives {text} for a text", "its last hidden states")
    if not pooling.include_prompt and has_prompts:
        raise _refused(
            "pooling that leaves the prompt's tokens out",
            "pooling over all tokens: the graph does not see which tokens are the prompt",
        )


def _layer_weights(layers: Any, transformer: Any) -> tuple[float, ...]:
    """One weight a layer, embeddings first; none: the module has no effect.

    sentence-transformers divides by the plain sum, not by a softmax's, and passes the last layer on when the
    transformer does not give all of them.
    """
    if isinstance(layers, LayerMix):
        mixed: list[float] = layers.weights().detach().tolist()
        return tuple(mixed)
    if not transformer.config.output_hidden_states:
        return ()
    weights: list[float] = layers.layer_weights.detach().tolist()
    return (*[0.0] * layers.layer_start, *(weight / sum(weights) for weight in weights))


def _tail_module(module: nn.Module, modules: Sequence[nn.Module]) -> nn.Module:
    keys = {getattr(module, name, _SENTENCE) for name in ("module_input_name", "module_output_name")}
    if keys != {_SENTENCE}:
        found = f"{type(module).__name__} between {' and '.join(sorted(keys))}"
        raise _refused(found, "modules that work on the sentence vector")
    if isinstance(module, Dense):
        return _Projection(module)
    if isinstance(module, LayerNorm):
        return module.norm
    if isinstance(module, Normalize):
        return _UnitLength()
    raise _refused(f"modules {', '.join(type(module).__name__ for module in modules)}", _MODULES)


def _dimension(pooling: Any, tail: Sequence[nn.Module]) -> int:
    sizes = [module.out_features for module in tail if isinstance(module, Dense)]
    return int(sizes[-1] if sizes else pooling.get_embedding_dimension())


def _describe(module: nn.Module) -> str:
    if isinstance(module, _Projection):
        linear, activation = module.linear, type(module.activation).__name__.lower()
        return f"dense {linear.in_features} to {linear.out_features} ({activation})"
    return "layer norm" if isinstance(module, nn.LayerNorm) else "normalised"


def _refused(found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"cannot convert the model: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="save it again in that form, or choose another model",
    )
