"""Parts of a transformer that are exchanged while it trains on a processor, and put back afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from training.cpu_speed import ByteDropout
from training.siamese.packed_attention import packed_attention

Features = dict[str, Any]

# The value of transformers' `attn_implementation`.
PACKED_ATTENTION = "footnote_packed"
# Models that see every token from every other through transformers' own interface, with positions that can
# be given. MPNet and DeBERTa add relative positions in code of their own, ModernBERT slides a window.
PACKED_MODEL_TYPES = frozenset(
    {"albert", "bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"}
)


def takes_packed(model: SentenceTransformer) -> bool:
    """Whether texts may lie one after another in the model's input."""
    config = getattr(model[0], "config", None)
    return getattr(config, "model_type", "") in PACKED_MODEL_TYPES


def precision_here(wanted: str) -> str:
    """The wanted precision, or "fp32" on a processor without bf16: there it is slower."""
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return wanted if native else "fp32"


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable[..., Features]) -> Iterator[None]:
    """Let the module run `forward`; at the end what it ran before, which may be a replacement too."""
    former = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if former is None:
            del module.forward
        else:
            module.forward = former


@contextmanager
def exact_output_of(transformer: nn.Module, precision: str) -> Iterator[None]:
    """Autocast inside the transformer; float32 outside."""
    inner = type(transformer).forward.__get__(transformer)

    def forward(features: Features, **options: Any) -> Features:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            found: Features = inner(features, **options)
        for name in ("token_embeddings", "sentence_embedding"):
            if name in found:
                found[name] = found[name].float()
        return found

    with forward_replaced(transformer, forward):
        yield


@contextmanager
def packed_attention_in(model: SentenceTransformer) -> Iterator[None]:
    """Attention that knows packed features; nothing changes in a model that does not take them."""
    if not takes_packed(model):
        yield
        return
    transformer: Any = model[0]
    inner, parameters = transformer.model, transformer.model_forward_params
    former = inner.config._attn_implementation
    inner.set_attn_implementation(PACKED_ATTENTION)
    if parameters is not None:
        transformer.model_forward_params = parameters | {"cu_seq_lens_q"}
    try:
        yield
    finally:
        inner.set_attn_implementation(former)
        transformer.model_forward_params = parameters


class _Dropout(ByteDropout):
    """p: transformers' attention reads it."""

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.p = p


@contextmanager
def byte_dropout_in(transformer: nn.Module) -> Iterator[None]:
    """Dropout on hidden states by bytes; on attention weights there is none in packed attention."""
    former = [
        (parent, name, child)
        for parent in transformer.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout
    ]
    for parent, name, child in former:
        setattr(parent, name, _Dropout(child.p).train(child.training))
    try:
        yield
    finally:
        for parent, name, child in former:
            setattr(parent, name, child.train(parent.training))


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface: query, key, value (B, heads, S, d); the result (B, S, heads, d)."""
    ends = options.get("cu_seq_lens_q")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if ends is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)
    rows = [each[0].transpose(0, 1).contiguous() for each in (query * scaling, key, value)]
    return packed_attention(rows[0], rows[1], rows[2], ends.tolist())[None], None


AttentionInterface.register(PACKED_ATTENTION, _attend)
AttentionMaskInterface.register(PACKED_ATTENTION, sdpa_mask)
