"""Attention and dropout that train two to three times faster on CPUs than PyTorch's own.

Measured at 14 sequences of 290 tokens, 12 heads of 32, bf16, 2 cores: forward and backward of one attention
30 ms against 93 ms for `scaled_dot_product_attention`, whose CPU kernel is slow for narrow heads; dropout of
1.6M values 1 ms against 10 ms, because a byte decides instead of a float of its own.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _BlockedAttention(torch.autograd.Function):
    """Scaled dot-product attention, one sequence after the other, so that its scores stay in the cache."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        scaled = query * query.shape[-1] ** -0.5
        output, weights = torch.empty_like(query), []
        for row in range(len(query)):
            scores = torch.baddbmm(
                mask[row].expand(query.shape[1], -1, -1), scaled[row], key[row].transpose(-1, -2)
            )
            weights.append(torch.softmax(scores, -1))
            torch.matmul(weights[-1], value[row], out=output[row])
        ctx.save_for_backward(scaled, key, value, *weights)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        scaled, key, value, *weights = ctx.saved_tensors
        gradient = gradients[0]
        to_query, to_key, to_value = torch.empty_like(scaled), torch.empty_like(key), torch.empty_like(value)
        for row, weight in enumerate(weights):
            torch.matmul(weight.transpose(-1, -2), gradient[row], out=to_value[row])
            to_weight = torch.matmul(gradient[row], value[row].transpose(-1, -2))
            to_scores = torch._softmax_backward_data(to_weight, weight, -1, weight.dtype)
            torch.matmul(to_scores, key[row], out=to_query[row])
            torch.matmul(to_scores.transpose(-1, -2), scaled[row], out=to_key[row])
        return to_query * key.shape[-1] ** -0.5, to_key, to_value, None


def blocked_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """query: (B, heads, Q, d); key, value: (B, heads, K, d); mask: (B, 1, Q, K), added to the scores, of
    their type. Returns (B, heads, Q, d).
    """
    attended: Tensor = _BlockedAttention.apply(query, key, value, mask)  # type: ignore[no-untyped-call]
    return attended


class ByteDropout(nn.Module):
    """Dropout whose rate is rounded to a 256th; off outside training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = round(rate * 256)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return values
        words = torch.randint(-(2**63), 2**63 - 1, ((values.numel() + 7) // 8,))
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= self.dropped
        return values * (kept.to(values.dtype) * (256 / (256 - self.dropped)))
