"""Cross-encoders of random weights, with tokenizers that join pairs as those of the architecture do."""

from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification

from tests.training.encoder_fixtures import configuration, fast_tokenizer

ARCHITECTURES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra")
_WITH_SEGMENTS = ("bert", "electra")


def write_reranker(architecture: str, folder: Path, labels: int = 1, positions: int = 160) -> Path:
    """A folder of transformers with two layers of random weights and `labels` outputs."""
    torch.manual_seed(11)
    tokenizer = fast_tokenizer(architecture)
    first, last = tokenizer.cls_token, tokenizer.sep_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1"
        if architecture in {"bert", "distilbert", "electra"}
        else f"{first} $A {last} {last} $B {last}",
        special_tokens=[(name, tokenizer.convert_tokens_to_ids(name)) for name in (first, last)],
    )
    names = ["input_ids", "attention_mask"]
    tokenizer.model_input_names = [*names, "token_type_ids"] if architecture in _WITH_SEGMENTS else names
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
    tokenizer.model_max_length = positions
    config: Any = configuration(architecture, tokenizer)
    config.max_position_embeddings = positions + 2
    config.num_labels = labels
    AutoModelForSequenceClassification.from_config(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
