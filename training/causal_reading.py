"""Reads the parts of a decoder from the modules of transformers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import (
    GELUActivation,
    GELUTanh,
    NewGELUActivation,
    SiLUActivation,
)

from embeddings.errors import ModelDamaged
from training.causal_blueprint import (
    Activation,
    Attention,
    Block,
    Blueprint,
    FeedForward,
    Floats,
    Linear,
    Norm,
    Rotary,
)

_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.SiLU: "silu",
    SiLUActivation: "silu",
    nn.GELU: "gelu",
    GELUActivation: "gelu",
    GELUTanh: "gelu_tanh",
    NewGELUActivation: "gelu_tanh",
    nn.ReLU: "relu",
}


def read_blueprint(model: Any, context_tokens: int) -> Blueprint:
    """The parts of a transformers decoder in fp32, for at most `context_tokens`.

    model: of a type in MODEL_TYPES. The weights are shared with it where that is possible.
    Raises ModelDamaged for a variant that has no graph here.
    """
    with torch.no_grad():
        return MODEL_TYPES[model.config.model_type](model, context_tokens)


def _read_gpt2(model: Any, context_tokens: int) -> Blueprint:
    body = model.transformer
    blocks = [
        Block(
            attention_norm=_layer_norm(layer.ln_1),
            attention=Attention(
                projection=_transposed(layer.attn.c_attn),
                output=_transposed(layer.attn.c_proj),
                heads=layer.attn.num_heads,
                kv_heads=layer.attn.num_heads,
                head_size=layer.attn.head_dim,
                scale=layer.attn.scaling,
            ),
            feed_forward=FeedForward(
                _transposed(layer.mlp.c_fc),
                _transposed(layer.mlp.c_proj),
                _activation(layer.mlp.act),
                gated=False,
            ),
            feed_forward_norm=_layer_norm(layer.ln_2),
        )
        for layer in body.h
    ]
    return Blueprint(
        embedding=_floats(body.wte.weight),
        blocks=blocks,
        final_norm=_layer_norm(body.ln_f),
        context_tokens=context_tokens,
        positions=_floats(body.wpe.weight)[:context_tokens],
        head=_head(model, body.wte),
    )


def _read_phi(model: Any, context_tokens: int) -> Blueprint:
    """Attention and feed-forward side by side, rotary positions on a part of each head."""
    body = model.model
    if model.config.qk_layernorm:
        raise _refused("phi with qk_layernorm", "phi without it, as it is published")
    blocks = [
        Block(
            attention_norm=_layer_norm(layer.input_layernorm),
            attention=_attention(layer.self_attn, model.config, window=None, output=layer.self_attn.dense),
            feed_forward=FeedForward(
                _linear(layer.mlp.fc1),
                _linear(layer.mlp.fc2),
                _activation(layer.mlp.activation_fn),
                gated=False,
            ),
            feed_forward_norm=None,
        )
        for layer in body.layers
    ]
    return Blueprint(
        embedding=_floats(body.embed_tokens.weight),
        blocks=blocks,
        final_norm=_layer_norm(body.final_layernorm),
        context_tokens=context_tokens,
        rotaries=[_rotary(body.rotary_emb, context_tokens)],
        head=_head(model, body.embed_tokens),
    )


@dataclass(frozen=True, slots=True)
class _Family:
    """How architectures with rotary positions, RMSNorm and a gated feed-forward differ.

    norm_offset: is added to the norms' weights; around: attention and feed-forward have a norm before and
    one after; rotary_by_layer_type: layers with a window have rotary tables of their own.
    """

    norm_offset: float = 0.0
    around: bool = False
    rotary_by_layer_type: bool = False

    def __call__(self, model: Any, context_tokens: int) -> Blueprint:
        body, config = model.model, model.config
        kinds = _layer_kinds(config)
        tables: list[str | None] = [*sorted(set(kinds))] if self.rotary_by_layer_type else [None]
        blocks = [
            self._block(layer, config, kind, tables.index(kind) if self.rotary_by_layer_type else 0)
            for layer, kind in zip(body.layers, kinds, strict=True)
        ]
        return Blueprint(
            embedding=_floats(body.embed_tokens.weight),
            blocks=blocks,
            final_norm=self._norm(body.norm),
            context_tokens=context_tokens,
            rotaries=[_rotary(body.rotary_emb, context_tokens, table) for table in tables],
            embedding_scale=float(getattr(body.embed_tokens, "embed_scale", 1.0)),
            head=_head(model, body.embed_tokens),
            logit_softcap=float(getattr(config, "final_logit_softcapping", None) or 0.0),
        )

    def _block(self, layer: Any, config: Any, kind: str, rotary: int) -> Block:
        attention = _attention(
            layer.self_attn,
            config,
            window=config.sliding_window if kind == "sliding_attention" else None,
            output=layer.self_attn.o_proj,
            rotary=rotary,
            query_norm=self._norm_if_any(layer.self_attn, "q_norm"),
            key_norm=self._norm_if_any(layer.self_attn, "k_norm"),
        )
        before_feed = layer.pre_feedforward_layernorm if self.around else layer.post_attention_layernorm
        return Block(
            attention_norm=self._norm(layer.input_layernorm),
            attention=attention,
            feed_forward=_gated(layer.mlp),
            feed_forward_norm=self._norm(before_feed),
            after_attention=self._norm(layer.post_attention_layernorm) if self.around else None,
            after_feed_forward=self._norm(layer.post_feedforward_layernorm) if self.around else None,
        )

    def _norm(self, norm: Any) -> Norm:
        epsilon = norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps
        return Norm(_floats(norm.weight) + np.float32(self.norm_offset), float(epsilon))

    def _norm_if_any(self, owner: Any, name: str) -> Norm | None:
        norm = getattr(owner, name, None)
        return None if norm is None else self._norm(norm)


def _layer_kinds(config: Any) -> list[str]:
    """Of each layer: "sliding_attention" or "full_attention"."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return list(kinds)
    kind = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    return [kind] * int(config.num_hidden_layers)


def _attention(
    module: Any,
    config: Any,
    *,
    window: int | None,
    output: Any,
    rotary: int = 0,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
) -> Attention:
    parts = (
        [module.qkv_proj] if hasattr(module, "qkv_proj") else [module.q_proj, module.k_proj, module.v_proj]
    )
    return Attention(
        projection=_side_by_side([_linear(part) for part in parts]),
        output=_linear(output),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=module.head_dim,
        scale=float(module.scaling),
        softcap=float(getattr(config, "attn_logit_softcapping", None) or 0.0),
        window=window,
        rotary=rotary,
        query_norm=query_norm,
        key_norm=key_norm,
    )


def _gated(mlp: Any) -> FeedForward:
    parts = [mlp.gate_up_proj] if hasattr(mlp, "gate_up_proj") else [mlp.gate_proj, mlp.up_proj]
    activation = mlp.activation_fn if hasattr(mlp, "activation_fn") else mlp.act_fn
    up = _side_by_side([_linear(part) for part in parts])
    return FeedForward(up, _linear(mlp.down_proj), _activation(activation), gated=True)


def _rotary(module: Any, context_tokens: int, layer_type: str | None = None) -> Rotary:
    """The module's own tables, so that every scaling of it is in them.

    Both halves of a head turn by the same angles; the second is left out.
    """
    positions = torch.arange(context_tokens)[None]
    told = () if layer_type is None else (layer_type,)
    cosines, sines = module(torch.zeros(1, dtype=torch.float32), positions, *told)
    half = cosines.shape[-1] // 2
    if half % 8:  # the kernels of GroupQueryAttention turn 8 pairs at a time
        raise _refused(f"rotary positions on {half} pairs of numbers a head", "a multiple of 8")
    return Rotary(_floats(cosines[0, :, :half]), _floats(sines[0, :, :half]))


def _head(model: Any, embedding: Any) -> Linear | None:
    """None when it is the embedding itself."""
    head = model.lm_head
    if head.weight.data_ptr() == embedding.weight.data_ptr() and head.bias is None:
        return None
    return _linear(head)


def _side_by_side(parts: Sequence[Linear]) -> Linear:
    if len(parts) == 1:
        return parts[0]
    weights = np.concatenate([part.weights for part in parts], axis=1)
    if all(part.bias is None for part in parts):
        return Linear(weights)
    biases = [
        np.zeros(part.weights.shape[1], np.float32) if part.bias is None else part.bias for part in parts
    ]
    return Linear(weights, np.concatenate(biases))


def _linear(module: Any) -> Linear:
    """From torch, which keeps (outputs, inputs)."""
    return Linear(_floats(module.weight).T, None if module.bias is None else _floats(module.bias))


def _transposed(module: Any) -> Linear:
    """From GPT-2, which keeps (inputs, outputs)."""
    return Linear(_floats(module.weight), _floats(module.bias))


def _layer_norm(module: Any) -> Norm:
    return Norm(_floats(module.weight), float(module.eps), _floats(module.bias))


def _activation(module: nn.Module) -> Activation:
    for kind, name in _ACTIVATIONS.items():
        if type(module) is kind:
            exact = not (isinstance(module, nn.GELU) and module.approximate == "tanh")
            return name if exact else "gelu_tanh"
    raise _refused(f"the activation {type(module).__name__}", "SiLU, GELU or ReLU")


def _floats(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().to(torch.float32).numpy()
    return array


def _refused(found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"no graph is known for this decoder: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="choose another model",
    )


_LLAMA = _Family()
MODEL_TYPES: dict[str, Callable[[Any, int], Blueprint]] = {
    "gpt2": _read_gpt2,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi": _read_phi,
    "phi3": _LLAMA,
    "gemma": _Family(norm_offset=1.0),
    "gemma2": _Family(norm_offset=1.0, around=True),
    "gemma3_text": _Family(norm_offset=1.0, around=True, rotary_by_layer_type=True),
}
