"""The bundled decoder: MiniLM layers that read the prompt in both directions and write the answer causally.

A token's probability is the sum over writing it from the vocabulary and copying it from any place of a
passage that holds it; both share one softmax (pointer-generator: See, Liu and Manning, ACL 2017, with a
joint instead of a gated softmax, as in CopyNet: Gu et al., ACL 2016). Prompt tokens are seen as in a prefix
language model (Dong et al., UniLM, NeurIPS 2019), but passages do not see each other, so each keeps the
local attention patterns of the encoder that it starts from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generation.prompt import ANSWER_SEGMENT, QUESTION_SEGMENT
from training.cpu_speed import ByteDropout, blocked_attention

PAD_SEGMENT = -1
HIDDEN = -1e4  # attention score of what may not be seen
FIRST_WORD_ID = 999  # below it the BERT vocabulary holds only special and unused tokens


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of MiniLM-L6-H384-uncased, with more positions for answers of several sentences."""

    layers: int = 6
    width: int = 384
    heads: int = 12
    inner_width: int = 1536
    vocabulary: int = 30522
    positions: int = 640
    norm_epsilon: float = 1e-12

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Keys and values of the tokens before. key, value: (B, heads, P, head_width)."""

    key: Tensor
    value: Tensor


class DecoderLayer(nn.Module):
    """A post-norm BERT layer whose attention takes a mask and the keys and values of earlier tokens."""

    def __init__(self, shape: DecoderShape, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.attention_out = nn.Linear(shape.width, shape.width)
        self.attention_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.inner = nn.Linear(shape.width, shape.inner_width)
        self.inner_out = nn.Linear(shape.inner_width, shape.width)
        self.output_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.dropout = ByteDropout(dropout)

    def forward(self, states: Tensor, mask: Tensor, cache: LayerCache | None) -> tuple[Tensor, LayerCache]:
        attended, cache = self._attend(states, mask, cache)
        states = self.attention_norm(states + self.dropout(attended))
        inner = self.inner_out(F.gelu(self.inner(states)))
        return self.output_norm(states + self.dropout(inner)), cache

    def _attend(self, states: Tensor, mask: Tensor, cache: LayerCache | None) -> tuple[Tensor, LayerCache]:
        batch, length, _ = states.shape
        heads = (batch, length, 3, self.shape.heads, self.shape.head_width)
        projected = self.qkv(states).view(heads).permute(2, 0, 3, 1, 4)  # (3, B, nh, S, hs)
        query, key, value = projected.unbind(0)
        if cache is not None:
            key = torch.cat([cache.key, key], dim=2)
            value = torch.cat([cache.value, value], dim=2)
        if self.training:
            attended = blocked_attention(query, key, value, mask.to(query.dtype))
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.attention_out(attended.transpose(1, 2).reshape(batch, length, -1)), LayerCache(key, value)


class CopyHead(nn.Module):
    """Scores each place of the passages as the source of the next token.

    score(i) = q(state) . k(state i) + b1 [token i-1 is the last token] + b2 [and token i-2 the one before]
               + b3 [place i lies in the passage that the answer has named]
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.scale = width**-0.5
        self.bigram = nn.Parameter(torch.tensor(3.0))
        self.trigram = nn.Parameter(torch.tensor(3.0))
        self.same_passage = nn.Parameter(torch.tensor(4.0))

    def forward(self, states: Tensor, keys: Tensor, context: "CopyContext") -> Tensor:
        """states: (B, T, d); keys: (B, S, d); returns (B, T, S), -inf where nothing can be copied."""
        scores = torch.matmul(self.query(states), keys.transpose(1, 2)).float() * self.scale
        scores = scores + self.bigram * context.bigram + self.trigram * context.trigram
        scores = scores + self.same_passage * context.same_passage
        masked: Tensor = scores.masked_fill(~context.copyable[:, None, :], -1e9)
        return masked


@dataclass(frozen=True, slots=True)
class CopyContext:
    """What the copy head knows of the tokens.

    bigram, trigram, same_passage: (B, T, S) in {0, 1}; copyable: (B, S).
    """

    bigram: Tensor
    trigram: Tensor
    same_passage: Tensor
    copyable: Tensor


def copy_context(
    tokens: Tensor, segments: Tensor, at: Tensor, previous: Tensor, passage: Tensor
) -> CopyContext:
    """Compare the last tokens written with what stands before each place of `tokens` (B, S).

    at: (B, T) indices of the tokens that predict. previous: (B, T) the token written before each of them,
    which among branches written side by side is not the one that stands before it; 0 for none.
    passage: (B, T) number of the passage that the answer has named by then, 0 for none.
    """
    last = tokens.gather(1, at)[:, :, None]
    before_last = previous[:, :, None]
    one_back = F.pad(tokens, (1, 0))[:, None, :-1]
    two_back = F.pad(tokens, (2, 0))[:, None, :-2]
    # A special token before a place says nothing about the text: only words make an n-gram.
    bigram = (one_back == last) & (last >= FIRST_WORD_ID)
    trigram = bigram & (two_back == before_last) & (before_last >= FIRST_WORD_ID)
    same_passage = segments[:, None, :] == passage[:, :, None]
    copyable = (segments > QUESTION_SEGMENT) & (segments < ANSWER_SEGMENT)
    return CopyContext(bigram.float(), trigram.float(), same_passage.float(), copyable)


def attention_mask(query_segments: Tensor, key_segments: Tensor, first_query: int) -> Tensor:
    """Who may see whom, as booleans (B, 1, Q, K).

    The question sees the whole prompt, a passage sees the question and itself, the answer sees the prompt
    and, of itself, what stands before; a branch of the answer sees the answer's trunk too, but no other
    branch. first_query: index of the first query token among the keys.
    """
    query = query_segments[:, :, None]
    key = key_segments[:, None, :]
    key_index = torch.arange(key_segments.shape[1], device=key_segments.device)
    query_index = first_query + torch.arange(query_segments.shape[1], device=key_segments.device)
    causal = (key_index[None, :] <= query_index[:, None])[None]
    in_prompt = key < ANSWER_SEGMENT
    related = (key == QUESTION_SEGMENT) | (key == query) | (query == QUESTION_SEGMENT)
    from_answer = query >= ANSWER_SEGMENT
    own = (key == ANSWER_SEGMENT) | (key == query)
    # Plain logic instead of torch.where: ONNX Runtime has no Where for booleans on the CPU.
    visible = (from_answer & (in_prompt | (causal & own))) | (~from_answer & in_prompt & related)
    return (visible & (key != PAD_SEGMENT))[:, None]


class CopyDecoder(nn.Module):
    """Embeddings, layers, the copy head and the vocabulary head, tied to the embeddings by a dense layer."""

    def __init__(self, shape: DecoderShape | None = None, dropout: float = 0.1) -> None:
        super().__init__()
        self.shape = shape = shape or DecoderShape()
        self.word_embeddings = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embeddings = nn.Embedding(shape.positions, shape.width)
        self.type_embeddings = nn.Embedding(2, shape.width)
        self.embedding_norm = nn.LayerNorm(shape.width, eps=shape.norm_epsilon)
        self.dropout = ByteDropout(dropout)
        self.layers = nn.ModuleList(DecoderLayer(shape, dropout) for _ in range(shape.layers))
        self.vocabulary_transform = nn.Linear(shape.width, shape.width)
        self.vocabulary_bias = nn.Parameter(torch.full((shape.vocabulary,), -6.0))
        self.copy_head = CopyHead(shape.width)
        nn.init.normal_(self.vocabulary_transform.weight, std=0.02)

    def encode(
        self,
        tokens: Tensor,
        positions: Tensor,
        segments: Tensor,
        mask: Tensor,
        caches: list[LayerCache] | None,
    ) -> tuple[Tensor, list[LayerCache]]:
        """Run the layers over new tokens (B, Q).

        Returns states (B, Q, d) and the caches with these tokens added.
        """
        types = (segments >= ANSWER_SEGMENT).long()
        embedded = (
            self.word_embeddings(tokens) + self.position_embeddings(positions) + self.type_embeddings(types)
        )
        states = self.dropout(self.embedding_norm(embedded))
        grown: list[LayerCache] = []
        for index, layer in enumerate(self.layers):
            states, cache = layer(states, mask, caches[index] if caches else None)
            grown.append(cache)
        return states, grown

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        """(..., d) -> (..., vocabulary)."""
        return (
            F.linear(self.vocabulary_transform(states), self.word_embeddings.weight).float()
            + self.vocabulary_bias
        )
