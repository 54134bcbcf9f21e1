import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from training.cpu_speed import ByteDropout, blocked_attention


def test_blocked_attention_and_its_gradients_equal_pytorchs() -> None:
    torch.manual_seed(0)
    ours = [torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3)]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    mask = torch.zeros(2, 1, 5, 5).masked_fill(torch.rand(2, 1, 5, 5) < 0.3, -1e4)
    weight = torch.randn(2, 3, 5, 4)
    found = blocked_attention(ours[0], ours[1], ours[2], mask)
    expected = scaled_dot_product_attention(*theirs, attn_mask=mask)
    torch.testing.assert_close(found, expected)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left.grad, right.grad)


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    torch.manual_seed(0)
    dropped = ByteDropout(0.25)(torch.ones(100_003))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)


def test_dropout_follows_the_seed_and_is_off_outside_training() -> None:
    values, dropout = torch.ones(1000), ByteDropout(0.5)
    torch.manual_seed(1)
    first = dropout(values)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(values))
    assert torch.equal(dropout.eval()(values), values)
