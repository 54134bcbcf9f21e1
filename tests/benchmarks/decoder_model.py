"""A decoder of Qwen3's shape with random weights, as a folder that transformers opens.

Speed doesn't depend on what the weights say; the sizes and the tokenizer are those of a real small model.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tests.benchmarks.texts import data_folder
from training.encoder_source import quiet_transformers

VOCABULARY = 32_768
CONTEXT_TOKENS = 4_096
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# 107 million parameters, of which 25 are the embeddings that are the head as well.
_SHAPE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "intermediate_size": 2_304,
}
_TEXT_FIELDS = {
    "squad/train.jsonl.gz": "context",
    "nq_gold/train.jsonl.gz": "context",
    "medquad/medquad.jsonl.gz": "answer",
    "xquad/ru.jsonl.gz": "context",
    "xquad/zh.jsonl.gz": "context",
    "drcd/dev.jsonl.gz": "context",
    "scifact/corpus.jsonl.gz": "text",
}
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_qwen3_folder(path: Path) -> Path:
    """Write the model and its tokenizer into `path`; the same numbers each time, 430 MB in fp32.

    The tokenizer is a byte-level BPE learned on the folder of public data. Raises NoData without it.
    """
    path.mkdir(parents=True, exist_ok=True)
    learn_tokenizer(data_folder()).save_pretrained(path)
    torch.manual_seed(20_261_121)
    end = SPECIAL_TOKENS.index("<|im_end|>")
    config: dict[str, Any] = {
        **_SHAPE,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": end,
        "pad_token_id": 0,
    }
    model = Qwen3ForCausalLM(Qwen3Config(**config)).eval()
    model.generation_config.eos_token_id = [end, 0]
    with quiet_transformers():
        model.save_pretrained(path)
    return path


def learn_tokenizer(data: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most VOCABULARY pieces, with English, Russian and Chinese among its texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=[AddedToken(name, special=True) for name in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_texts(data), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    wrapped.chat_template = _CHAT_TEMPLATE
    return wrapped


def _texts(data: Path) -> Iterator[str]:
    """Each passage once: a question-answering set repeats its passage with every question."""
    for name, field in _TEXT_FIELDS.items():
        with gzip.open(data / name, "rt", encoding="utf-8") as lines:
            yield from dict.fromkeys(json.loads(line)[field] or "" for line in lines)
