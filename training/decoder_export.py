"""The trained decoder becomes an ONNX graph with a key-value cache, is quantised to int8 and compared with
torch.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from generation.prompt import ANSWER_SEGMENT
from training.decoder_model import (
    HIDDEN,
    CopyDecoder,
    DecoderShape,
    LayerCache,
    attention_mask,
    copy_context,
)

STATE_BEFORE_LAYERS = ("tokens", "segments", "copy_key")


class CachedDecoder(nn.Module):
    """One pass over new tokens with flat state tensors in and out, which is what the engine drives.

    Works for the prompt (P = 0 tokens before) and for each token after it alike.
    """

    def __init__(self, model: CopyDecoder) -> None:
        super().__init__()
        self.model = model
        # A copy of the tied embeddings: with one int8 table for both, the graph would unpack all of it for
        # each token (measured: six times slower answers).
        self.vocabulary = nn.Linear(model.shape.width, model.shape.vocabulary)
        self.vocabulary.weight.data = model.word_embeddings.weight.data.clone()
        self.vocabulary.bias.data = model.vocabulary_bias.data.clone()

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        segment_ids: Tensor,
        logit_positions: Tensor,
        previous_ids: Tensor,
        named_passages: Tensor,
        past: list[Tensor],
    ) -> tuple[Tensor, ...]:
        """input_ids, position_ids, segment_ids: (B, Q); logit_positions: (B, K) indices among the Q new
        tokens; previous_ids, named_passages: (B, K) as `copy_context` has them.

        past: tokens (B, P), segments (B, P), copy_key (B, P, d), then key and value (B, heads, P,
        head_width) of each layer.
        Returns log_probs (B, K, vocabulary), copy_probs (B, K, P + Q) and the grown state in the order of
        `past`.
        """
        past_tokens, past_segments, past_copy_key, *layers = past
        tokens = torch.cat([past_tokens, input_ids], dim=1)
        segments = torch.cat([past_segments, segment_ids], dim=1)
        before = past_tokens.shape[1]
        caches = [LayerCache(layers[i], layers[i + 1]) for i in range(0, len(layers), 2)]
        # Additive: a boolean mask makes the exporter check all scores for NaN (prefill 1.6 times slower).
        mask = torch.where(attention_mask(segment_ids, segments, before), 0.0, HIDDEN)
        states, grown = self.model.encode(input_ids, position_ids, segment_ids, mask, caches)
        copy_key = torch.cat([past_copy_key, self.model.copy_head.key(states)], dim=1)
        answers = states.gather(1, logit_positions[:, :, None].expand(-1, -1, states.shape[-1]))
        at = before + logit_positions
        context = copy_context(tokens, segments, at, previous_ids, named_passages)
        written = self.vocabulary(self.model.vocabulary_transform(answers))
        copied = self.model.copy_head(answers, copy_key, context)
        log_probs, copy_probs = joint_log_probs(written, copied, tokens)
        state = [tensor for cache in grown for tensor in (cache.key, cache.value)]
        return log_probs, copy_probs, tokens, segments, copy_key, *state


def joint_log_probs(written: Tensor, copied: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Normalise both ways of producing a token together, and add up the places that hold the same token.

    written: (B, K, V) logits; copied: (B, K, S) logits; tokens: (B, S). Returns (B, K, V) and the copy part
    (B, K, S).
    """
    total = torch.logsumexp(torch.cat([written, copied], dim=-1), dim=-1, keepdim=True)
    copy_probs = torch.exp(copied - total)
    places = tokens[:, None, :].expand(-1, copied.shape[1], -1)
    probs = torch.exp(written - total).scatter_add(-1, places, copy_probs)
    return torch.log(probs.clamp(min=1e-30)), copy_probs


def empty_state(shape: DecoderShape, batch: int, length: int = 0) -> list[Tensor]:
    """State tensors for `length` tokens: zeros, or nothing at the start."""
    cache = [torch.zeros(batch, shape.heads, length, shape.head_width) for _ in range(2 * shape.layers)]
    tokens = torch.zeros(batch, length, dtype=torch.int64)
    return [tokens, tokens.clone(), torch.zeros(batch, length, shape.width), *cache]


def state_names(shape: DecoderShape) -> list[str]:
    """Names of the state tensors behind `past.` and `present.`, in the graph's order."""
    layers = [f"{kind}.{index}" for index in range(shape.layers) for kind in ("key", "value")]
    return [*STATE_BEFORE_LAYERS, *layers]


def export_graph(model: CopyDecoder, path: Path) -> None:
    """Write the fp32 graph."""
    wrapper = CachedDecoder(model).eval()
    batch, before, new = 2, 7, 5
    sample = {
        "input_ids": torch.randint(1000, 2000, (batch, new)),
        "position_ids": torch.arange(new).expand(batch, new).contiguous(),
        "segment_ids": torch.tensor([[0, 0, 1, 1, ANSWER_SEGMENT]] * batch),
        "logit_positions": torch.tensor([[2, 3, 4]] * batch),
        "previous_ids": torch.tensor([[0, 1000, 1001]] * batch),
        "named_passages": torch.tensor([[0, 1, 1]] * batch),
        "past": empty_state(model.shape, batch, before),
    }
    dynamic = torch.export.Dim.DYNAMIC
    growing = {"past": {0: dynamic, 1: dynamic}}
    shapes = {name: {0: dynamic, 1: dynamic} for name in sample if name != "past"}
    past_shapes = [growing["past"]] * 3 + [{0: dynamic, 2: dynamic}] * (2 * model.shape.layers)
    names = state_names(model.shape)
    torch.onnx.export(
        wrapper,
        (),
        str(path),
        kwargs=sample,
        dynamo=True,
        dynamic_shapes={**shapes, "past": past_shapes},
        external_data=False,
        opset_version=20,
        input_names=[*shapes, *(f"past.{name}" for name in names)],
        output_names=["log_probs", "copy_probs", *(f"present.{name}" for name in names)],
    )
