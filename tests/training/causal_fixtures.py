"""Causal decoders of random weights, one of each architecture, with tokenizers learned on a few sentences."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from training.encoder_source import quiet_transformers
from training.parity_texts import BUILT_IN

VOCABULARY = 500
CONTEXT_TOKENS = 128
WINDOW = 8
CHAT_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
TEXTS = tuple(text for sample in BUILT_IN for text in (*sample.queries, *sample.passages))

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_TOKENS,
    # Ten times the usual, so that the logits of two tokens differ as a trained model's do.
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_HEADS = {"head_dim": 16}
_WINDOW = {"sliding_window": WINDOW}
_MIXED = {"layer_types": ["sliding_attention", "full_attention"], **_WINDOW, **_HEADS}
_GPT2 = {
    "n_positions": CONTEXT_TOKENS,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "vocab_size": VOCABULARY,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "gpt2": (GPT2Config, _GPT2),
    "llama": (LlamaConfig, {**_SHAPE, "tie_word_embeddings": True, "rope_parameters": _LLAMA3}),
    "mistral": (MistralConfig, {**_SHAPE, **_WINDOW, **_HEADS}),
    "qwen2": (Qwen2Config, {**_SHAPE, "use_sliding_window": True, "max_window_layers": 1, **_WINDOW}),
    "qwen3": (Qwen3Config, {**_SHAPE, **_HEADS, "tie_word_embeddings": True}),
    "gemma": (GemmaConfig, {**_SHAPE, **_HEADS}),
    "gemma2": (Gemma2Config, {**_SHAPE, **_MIXED, "query_pre_attn_scalar": 24}),
    "gemma3_text": (Gemma3TextConfig, {**_SHAPE, **_MIXED, "query_pre_attn_scalar": 24}),
    "phi": (PhiConfig, {**_SHAPE, "num_attention_heads": 2, "num_key_value_heads": 2}),
    "phi3": (Phi3Config, {**_SHAPE, **_WINDOW}),
}
ARCHITECTURES = tuple(CONFIGS)


def random_decoder(architecture: str, **changes: Any) -> Any:
    """A seeded model in evaluation mode, its biases and norms not the zeros and ones that they start as."""
    kind, settings = CONFIGS[architecture]
    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_config(kind(**{**settings, **changes}), attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, 1.0 if name.endswith("norm.weight") else 0.0, 0.1)
    return model.eval()


def learn_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def write_decoder(architecture: str, folder: Path, **changes: Any) -> Path:
    """A folder as transformers saves one."""
    with quiet_transformers():
        random_decoder(architecture, **changes).save_pretrained(folder)
    tokenizer = learn_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def write_learned_decoder(folder: Path) -> Path:
    """A Qwen3 that learned the texts by heart, so that what quantising loses shows in its perplexity."""
    model, tokenizer = random_decoder("qwen3", initializer_range=0.05), learn_tokenizer()
    tokens = torch.tensor(tokenizer("\n".join(TEXTS))["input_ids"])
    rows = tokens[: len(tokens) // 64 * 64].reshape(-1, 64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        model(rows, labels=rows).loss.backward()
        optimiser.step()
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_adapter(architecture: str, folder: Path, **changes: Any) -> Any:
    """Save a LoRA adapter of random weights; returns the model with it beside, not merged."""
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(random_decoder(architecture, **changes), config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                nn.init.normal_(parameter, 0.0, 0.1)
    adapted.save_pretrained(str(folder))
    return adapted.eval()
