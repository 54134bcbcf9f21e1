"""A model's tokenizer as one tokenizer.json, and how many tokens the model can take."""

from typing import Any

from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from embeddings.errors import ModelDamaged

# These count positions from the row after the padding token's on.
_OFFSET_POSITIONS = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
# transformers writes 1e30 where a tokenizer knows no limit.
_NO_LIMIT = 10**6
_PROBES = (
    "",
    "A plain sentence, with 3 numbers: 1, 22, 333.",
    " Ёлки и  палки!",
    "你好，世界。",
    "naïve\n\tcafé 🙂",
)


def fast_tokenizer(original: SentenceTransformer) -> Tokenizer:
    """A copy that neither cuts nor pads, and gives the ids that the model's own gives.

    all-MiniLM-L6-v2's file, for one, makes every text 128 tokens long.
    Raises ModelDamaged where the model's tokenizer has no fast form, or its fast form says something else.
    """
    own: Any = original.tokenizer
    backend = getattr(own, "backend_tokenizer", None)
    if backend is None:
        raise _refused(f"the slow tokenizer {type(own).__name__}", "one with a tokenizer.json")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text in _PROBES:
        if tokenizer.encode(text).ids != own(text)["input_ids"]:
            raise _refused(
                f"a tokenizer.json that reads {text!r} otherwise than the model does", "the same ids"
            )
    return tokenizer


def token_limit(original: SentenceTransformer) -> int:
    """Tokens of a text that the model can take, special tokens included.

    Raises ModelDamaged when neither the model nor its tokenizer knows a limit.
    """
    limits = [original.max_seq_length or _NO_LIMIT, position_limit(original[0])]
    limit = min(limits)
    if limit >= _NO_LIMIT:
        raise _refused("no limit to the length of a text", "max_seq_length in the model's configuration")
    return int(limit)


def position_limit(transformer: Any) -> int:
    """Rows of the position table that tokens can use; _NO_LIMIT without one."""
    config = transformer.config
    rows = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if config.model_type in _OFFSET_POSITIONS:
        rows -= config.pad_token_id + 1
    return int(rows)


def _refused(found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"cannot convert the tokenizer: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="open it with transformers, with the package sentencepiece installed where it asks for it,"
        " and save it again",
    )
