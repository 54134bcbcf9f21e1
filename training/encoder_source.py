"""A folder of sentence-transformers, read as one torch module that ends in the sentence vector."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from torch import Tensor, nn
from transformers import AutoModel

from embeddings.artifact import EncoderSpec, Prompts
from embeddings.errors import ModelDamaged

T = TypeVar("T")
Pooling = Literal["mean", "cls"]
_POOLING_KEYS: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}


class _Module(msgspec.Struct):
    path: str
    type: str


class _SentenceConfig(msgspec.Struct):
    max_seq_length: Annotated[int, msgspec.Meta(ge=1)]


class _PromptConfig(msgspec.Struct):
    prompts: dict[str, str] = {}


class SentenceEncoder(nn.Module):
    """A transformer with its pooling and normalisation: token ids (B, S) to sentence vectors (B, D)."""

    def __init__(self, transformer: nn.Module, pooling: Pooling, normalize: bool) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask)
        pooled = self._pool(output.last_hidden_state, attention_mask)
        return nn.functional.normalize(pooled, dim=1) if self.normalize else pooled

    def _pool(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, S, 1)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """What a sentence-transformers folder says about its encoder."""

    folder: Path
    spec: EncoderSpec

    def load(self) -> SentenceEncoder:
        """The encoder in evaluation mode, with eager attention: the graph it exports to quantises better."""
        # The pooler is BERT's next-sentence head, which sentence vectors do not use.
        transformer = AutoModel.from_pretrained(
            self.folder, attn_implementation="eager", add_pooling_layer=False
        )
        pooling: Pooling = "cls" if self.spec.pooling == "cls" else "mean"
        return SentenceEncoder(transformer, pooling, self.spec.normalize).eval()


def read_source(folder: Path) -> EncoderSource:
    """Read pooling, length limit and prompts from the folder's own files.

    Raises ModelDamaged when a file is absent or the modules are not a transformer, one pooling and an
    optional normalisation.
    """
    modules = _read(folder / "modules.json", list[_Module])
    kinds = [module.type.rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _unreadable(folder, f"modules {', '.join(kinds)}", "Transformer, Pooling and perhaps Normalize")
    pooling = _read(folder / modules[1].path / "config.json", dict[str, Any])
    spec = EncoderSpec(
        dimension=pooling["word_embedding_dimension"],
        max_tokens=_read(folder / "sentence_bert_config.json", _SentenceConfig).max_seq_length,
        pooling=_pooling(folder, pooling),
        normalize="Normalize" in kinds,
        prompts=_prompts(folder),
    )
    return EncoderSource(folder, spec)


def _pooling(folder: Path, config: Mapping[str, Any]) -> Pooling:
    chosen = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if len(chosen) != 1 or chosen[0] not in _POOLING_KEYS:
        raise _unreadable(folder, f"pooling {', '.join(chosen) or 'none'}", "one of mean and cls")
    return _POOLING_KEYS[chosen[0]]


def _prompts(folder: Path) -> Prompts:
    prompts = _read(folder / "config_sentence_transformers.json", _PromptConfig).prompts
    passage = next((prompts[key] for key in ("passage", "document") if key in prompts), "")
    return Prompts(query=prompts.get("query", ""), passage=passage)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise _unreadable(path.parent, f"no {path.name}", "a folder of sentence-transformers") from error
    except msgspec.MsgspecError as error:
        raise _unreadable(
            path.parent, f"{path.name}: {error}", "a folder of sentence-transformers"
        ) from error


def _unreadable(folder: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"cannot convert {folder}: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="save the model again with sentence-transformers",
    )
