import torch
from torch.nn.functional import scaled_dot_product_attention

from training.siamese.packed_attention import Run, equal_runs, packed_attention


def test_each_text_sees_only_itself_and_gradients_equal_pytorchs() -> None:
    torch.manual_seed(0)
    ends = (0, 3, 6, 9, 10, 17)
    ours = [torch.randn(17, 2, 4, requires_grad=True) for _ in range(3)]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    text = torch.bucketize(torch.arange(17), torch.tensor(ends[1:]), right=True)
    alone = text[:, None] == text[None]
    weight = torch.randn(17, 2, 4)
    found = packed_attention(ours[0], ours[1], ours[2], ends)
    heads = [tensor.transpose(0, 1)[None] for tensor in theirs]
    expected = scaled_dot_product_attention(*heads, attn_mask=alone, scale=1.0)[0].transpose(0, 1)
    torch.testing.assert_close(found, expected)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left.grad, right.grad)


def test_neighbours_of_one_length_share_a_block_as_long_as_it_is_small() -> None:
    assert equal_runs((0, 3, 6, 8), 2) == (Run(0, 2, 3), Run(6, 1, 2))
    assert equal_runs((0, 256, 512), 12) == (Run(0, 1, 256), Run(256, 1, 256))
