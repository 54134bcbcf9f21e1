"""Encoders of random weights, one of each architecture, with tokenizers learned on a few sentences.

Each is two layers of 32 numbers, so that an export takes seconds.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from training.parity_texts import BUILT_IN, ParityTexts

WIDTH = 32
MAX_TOKENS = 64
TEXTS = tuple(text for sample in BUILT_IN for text in (*sample.queries, *sample.passages))
PARITY = (ParityTexts("en", BUILT_IN[0].queries, BUILT_IN[0].passages),)

_SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": MAX_TOKENS,
    # Ten times the usual, so that texts differ as much as a trained model lets them.
    "initializer_range": 0.2,
}
# These count positions from the row after the padding token's on.
_OFFSET = {"max_position_embeddings": MAX_TOKENS + 2}
_VERSION_3 = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "bert": (BertConfig, {}),
    "distilbert": (DistilBertConfig, {}),
    "roberta": (RobertaConfig, _OFFSET),
    "xlm-roberta": (XLMRobertaConfig, _OFFSET),
    "albert": (AlbertConfig, {"embedding_size": 16}),
    "deberta-v2": (DebertaV2Config, _VERSION_3),
    "electra": (ElectraConfig, {"embedding_size": 16}),
    "mpnet": (MPNetConfig, _OFFSET),
    "modernbert": (ModernBertConfig, {"local_attention": 16, "global_attn_every_n_layers": 2}),
}
ARCHITECTURES = tuple(_CONFIGS)
_BERT_NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA_NAMES = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def write_transformer(architecture: str, folder: Path, positions: int | None = None) -> Path:
    """A folder of transformers: random weights and a fast tokenizer.

    positions: rows of the position table.
    """
    torch.manual_seed(7)
    tokenizer = fast_tokenizer(architecture)
    config = configuration(architecture, tokenizer)
    if positions is not None:
        config.max_position_embeddings = tokenizer.model_max_length = positions
    AutoModel.from_config(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_encoder(
    architecture: str, folder: Path, pooling: Any = "mean", tail: Sequence[nn.Module] = ()
) -> Path:
    """A folder of sentence-transformers around a new transformer."""
    parts = write_transformer(architecture, folder / "parts")
    transformer = Transformer(str(parts))
    model = SentenceTransformer(modules=[transformer, Pooling(WIDTH, pooling), *tail], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def configuration(architecture: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """The configuration of two small layers for this tokenizer."""
    kind, own = _CONFIGS[architecture]
    ends = {"pad_token_id": tokenizer.pad_token_id, "cls_token_id": tokenizer.cls_token_id}
    return kind(vocab_size=len(tokenizer), **(_SHAPE | ends | {"sep_token_id": tokenizer.sep_token_id} | own))


def fast_tokenizer(architecture: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the kind that the architecture is known with."""
    if architecture in ("bert", "distilbert", "electra"):
        return _wrapped(_word_pieces(_BERT_NAMES), _BERT_NAMES)
    if architecture == "mpnet":
        return _wrapped(_word_pieces(_ROBERTA_NAMES), _ROBERTA_NAMES)
    if architecture in ("albert", "deberta-v2"):
        return _wrapped(_unigram(_BERT_NAMES), _BERT_NAMES)
    if architecture == "xlm-roberta":
        return _wrapped(_unigram(_ROBERTA_NAMES), _ROBERTA_NAMES)
    names = _ROBERTA_NAMES if architecture == "roberta" else _BERT_NAMES
    return _wrapped(_byte_pairs(names), names)


def _wrapped(tokenizer: Tokenizer, names: Sequence[str]) -> PreTrainedTokenizerFast:
    pad, unknown, first, last, mask = (
        names if names is _BERT_NAMES else (names[1], names[3], names[0], *names[2::2])
    )
    frame = [(name, tokenizer.token_to_id(name)) for name in (first, last)]
    tokenizer.post_processor = TemplateProcessing(single=f"{first} $A {last}", special_tokens=frame)
    special = {
        "pad_token": pad,
        "unk_token": unknown,
        "mask_token": mask,
        "cls_token": first,
        "sep_token": last,
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, **special)


def _word_pieces(names: Sequence[str]) -> Tokenizer:
    """Byte pair encoding's pieces, each at the beginning of a word and inside it.

    The trainer of word pieces breaks ties by chance, and a test of what is learned would fail now and then.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=850, show_progress=False))
    parts = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    pieces = [*names, *parts, *(f"##{part}" for part in parts)]
    unknown = next(name for name in names if "unk" in name.lower())
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer.model = models.WordPiece(vocabulary, unk_token=unknown)
    tokenizer.add_special_tokens(list(names))
    return tokenizer


def _unigram(names: Sequence[str]) -> Tokenizer:
    unknown = next(name for name in names if "unk" in name.lower())
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=800, special_tokens=list(names), unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.model = _in_order(tokenizer, names)
    return tokenizer


def _in_order(tokenizer: Tokenizer, names: Sequence[str]) -> models.Unigram:
    """The trained model, its pieces numbered in one order: the trainer's differs from process to process."""
    model = json.loads(tokenizer.to_str())["model"]
    pieces = [(piece, score) for piece, score in model["vocab"]]
    ordered = pieces[: len(names)] + sorted(pieces[len(names) :])
    return models.Unigram(ordered, unk_id=model["unk_id"])


def _byte_pairs(names: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=list(names), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer
