"""What a causal decoder is made of, whatever its architecture: the parts that its graph is assembled from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer. weights: (inputs, outputs); bias: (outputs,)."""

    weights: Floats
    bias: Floats | None = None


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation over the last axis: of the mean and variance with a bias, else of the root mean square.

    weights, bias: (width,). Sources: Ba et al. 2016; Zhang and Sennrich 2019.
    """

    weights: Floats
    epsilon: float
    bias: Floats | None = None


@dataclass(frozen=True, slots=True)
class Rotary:
    """Cosines and sines of the rotary positions, (context, rotated numbers / 2). Source: Su et al. 2021."""

    cosines: Floats
    sines: Floats


@dataclass(frozen=True, slots=True)
class Attention:
    """Causal attention with grouped key and value heads.

    projection: to queries, keys and values side by side; scale: of the products; softcap: 0 for none;
    window: tokens that are seen, itself included, None for all; rotary: number of the decoder's table.
    """

    projection: Linear
    output: Linear
    heads: int
    kv_heads: int
    head_size: int
    scale: float
    softcap: float = 0.0
    window: int | None = None
    rotary: int | None = None
    query_norm: Norm | None = None
    key_norm: Norm | None = None


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Two layers and the activation between them.

    gated: `up` gives gates and values side by side, and activation(gate) * value goes down.
    """

    up: Linear
    down: Linear
    activation: Activation
    gated: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A layer. feed_forward_norm: None where attention and feed-forward read the same normalised input;
    the norms after them stand before their sum with the residual stream.
    """

    attention_norm: Norm
    attention: Attention
    feed_forward: FeedForward
    feed_forward_norm: Norm | None
    after_attention: Norm | None = None
    after_feed_forward: Norm | None = None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A whole decoder.

    embedding: (vocabulary, width); embedding_scale: that its rows are multiplied with; positions: (context,
    width) learned rows; head: None when it is the embedding; logit_softcap: 0 for none.
    """

    embedding: Floats
    blocks: Sequence[Block]
    final_norm: Norm
    context_tokens: int
    rotaries: Sequence[Rotary] = ()
    embedding_scale: float = 1.0
    positions: Floats | None = None
    head: Linear | None = None
    logit_softcap: float = 0.0

    @property
    def window_tokens(self) -> int | None:
        """Of the layers that have a window, the smallest."""
        return min((block.attention.window for block in self.blocks if block.attention.window), default=None)
