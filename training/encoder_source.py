"""A folder of sentence-transformers, read as one torch module that ends in the pooled vector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import Tensor, nn

from embeddings.artifact import EncoderSpec
from embeddings.errors import ModelDamaged

Pooling = Literal["mean", "cls"]


class SentenceEncoder(nn.Module):
    """A transformer with its pooling: token ids (B, S) to sentence vectors (B, D), not normalised."""

    def __init__(self, transformer: nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask)
        return self._pool(output.last_hidden_state, attention_mask)

    def _pool(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, S, 1)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """An encoder as sentence-transformers runs it, and what its conversion needs of it."""

    original: SentenceTransformer
    encoder: SentenceEncoder
    tokenizer: Tokenizer
    spec: EncoderSpec


def read_source(folder: Path) -> EncoderSource:
    """Open a folder that sentence-transformers saved, in any of its layouts.

    Raises ModelDamaged when there is none, or its modules are not a transformer, mean or first-token pooling
    and perhaps a normalisation.
    """
    original = _open(folder)
    kinds = [type(module).__name__ for module in original]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _refused(folder, f"modules {', '.join(kinds)}", "Transformer, Pooling and perhaps Normalize")
    # The library's containers promise no more than "a module", hence the casts.
    pooling = cast(Any, original[1])
    if pooling.pooling_mode not in ("mean", "cls"):
        raise _refused(folder, f"pooling {pooling.pooling_mode!r}", "'mean' or 'cls'")
    spec = EncoderSpec(
        dimension=pooling.get_embedding_dimension(),
        max_tokens=cast(int, original.max_seq_length),
        pooling=pooling.pooling_mode,
        prompts=_prompts(original.prompts),
    )
    transformer = cast(Any, original[0]).auto_model
    encoder = SentenceEncoder(transformer, pooling.pooling_mode).eval()
    return EncoderSource(original, encoder, _plain_tokenizer(original), spec)


def _open(folder: Path) -> SentenceTransformer:
    if not (folder / "modules.json").is_file():  # else the library would look for a model hub
        raise _refused(folder, "no modules.json", "a folder of sentence-transformers")
    # Graphs of eager attention quantise better: 19.7k int8 tokens a second against 16.0k with sdpa's.
    return SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"}, local_files_only=True
    )


def _prompts(prompts: dict[str, str | None]) -> dict[str, str]:
    """The model's prompts by name, with "passage" for what it calls "document"."""
    named = {name: prompt for name, prompt in prompts.items() if prompt}
    return {"passage": named["document"], **named} if "document" in named else named


def _plain_tokenizer(original: SentenceTransformer) -> Tokenizer:
    """A copy that neither cuts nor pads; all-MiniLM-L6-v2's file makes every text 128 tokens long."""
    tokenizer = Tokenizer.from_str(cast(Tokenizer, original.tokenizer.backend_tokenizer).to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _refused(folder: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"cannot convert {folder}: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="save the model again with sentence-transformers",
    )
