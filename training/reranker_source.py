"""A cross-encoder as sentence-transformers opens it, and what its conversion needs of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from embeddings.artifact import RerankerSpec
from embeddings.errors import ModelDamaged
from training.encoder_source import quiet_transformers
from training.encoder_tokenizer import fast_tokenizer, position_limit

MODEL_TYPES = frozenset({"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"})
# transformers writes 1e30 where a tokenizer knows no limit.
_NO_LIMIT = 10**6
_PAIRS = (("When?", "At 3 o'clock, 12.5 %."), ("Где ёлки?", "В лесу 🙂"), ("在哪里？", "你好，世界。"))


class PairScorer(nn.Module):
    """Token ids, mask and, for models that know them, segments (B, S) to one number a pair (B,)."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask, **given)
        return cast(Tensor, output.logits).squeeze(-1)


@dataclass(frozen=True, slots=True)
class RerankerSource:
    """original: as sentence-transformers runs it; scorer: the module to export."""

    original: CrossEncoder
    scorer: PairScorer
    tokenizer: Tokenizer
    spec: RerankerSpec


def read_reranker(folder: Path) -> RerankerSource:
    """Open a folder that sentence-transformers or transformers saved.

    Raises ModelDamaged for a folder or a model that cannot be converted.
    """
    with quiet_transformers():
        original = _open(folder)
        _check(original, folder)
    tokenizer = fast_tokenizer(cast(Any, original))
    own: Any = original.tokenizer
    own.padding_side = "right"
    for pair in _PAIRS:
        if tokenizer.encode(*pair).ids != own(*pair)["input_ids"]:
            raise _refused(folder, "a tokenizer.json that joins pairs otherwise than the model", "the same")
    spec = RerankerSpec(_token_limit(original, folder), _has_segments(original))
    return RerankerSource(original, PairScorer(cast(nn.Module, original.model)), tokenizer, spec)


def _open(folder: Path) -> CrossEncoder:
    if not (folder / "config.json").is_file():
        raise _refused(folder, "no config.json", "a folder of sentence-transformers or transformers")
    # Attention that can be exported: not every architecture's default can.
    model = {"attn_implementation": "eager", "dtype": torch.float32}
    try:
        original: CrossEncoder = CrossEncoder(
            str(folder), device="cpu", model_kwargs=model, local_files_only=True
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
        found = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise _refused(folder, found, "a cross-encoder that sentence-transformers can open") from error
    return original


def _check(original: CrossEncoder, folder: Path) -> None:
    config: Any = cast(Any, original.model).config
    if config.model_type not in MODEL_TYPES:
        raise _refused(
            folder, f"architecture {config.model_type!r}", f"one of {', '.join(sorted(MODEL_TYPES))}"
        )
    if config.num_labels != 1:
        raise _refused(folder, f"{config.num_labels} outputs a pair", "one, the relevance")
    _, loading = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True, local_files_only=True
    )
    if missing := sorted(loading["missing_keys"]):
        found = f"no weights for {missing[0]}, one of {len(missing)}"
        raise _refused(folder, found, "the weights of every layer: an encoder is not yet a cross-encoder")


def _token_limit(original: CrossEncoder, folder: Path) -> int:
    own: Any = original.tokenizer
    limit = min(original.max_seq_length or _NO_LIMIT, own.model_max_length, position_limit(original.model))
    if limit >= _NO_LIMIT:
        raise _refused(folder, "no limit to the length of a pair", "model_max_length of the tokenizer")
    return int(limit)


def _has_segments(original: CrossEncoder) -> bool:
    own, config = cast(Any, original.tokenizer), cast(Any, original.model).config
    return "token_type_ids" in own.model_input_names and getattr(config, "type_vocab_size", 0) > 1


def _refused(folder: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"cannot convert {folder}: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="save the model again with sentence-transformers' CrossEncoder, or choose another",
    )
