"""A tiny vocabulary, tokenizer and decoder, so that a whole training run takes a second."""

import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from embeddings.artifact import TOKENIZER, WEIGHTS
from generation.prompt import PromptLayout
from training.decoder_bundle import describe
from training.decoder_export import export_graph
from training.decoder_model import FIRST_WORD_ID, CopyDecoder, DecoderShape

WORDS = [
    *("the", "a", "of", "in", "is", "was", "who", "what", "when", "where", "did", "built", "found", "wrote"),
    *("tower", "castle", "bridge", "king", "queen", "miller", "baker", "gold", "silver", "river", "harbour"),
    *("north", "south", "1871", "1903", ".", ",", "?", "##s", "##er", "old", "new", "stone"),
    *("paris", "rome", "london"),
]
TINY_LAYOUT = PromptLayout(
    start=101,
    separator=102,
    begin=10,
    begin_sentences=12,
    begin_question=13,
    ask=14,
    refuse=11,
    accept=15,
    passage_tokens=(1, 2, 3, 4),
    answer_position=80,
    max_question_tokens=16,
    max_answer_tokens=12,
)
TINY_SHAPE = DecoderShape(
    layers=2, width=32, heads=4, inner_width=64, vocabulary=FIRST_WORD_ID + len(WORDS) + 1, positions=96
)


def tiny_tokenizer() -> Tokenizer:
    """Word pieces with ids from FIRST_WORD_ID on, as in BERT's vocabulary."""
    vocabulary = {f"[unused{i}]": i for i in range(FIRST_WORD_ID) if i != 100}
    vocabulary["[UNK]"] = 100
    vocabulary |= {word: FIRST_WORD_ID + i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def seeded_decoder() -> CopyDecoder:
    """The same random weights each time."""
    torch.manual_seed(5)
    return tiny_decoder()


def tiny_decoder() -> CopyDecoder:
    """Random weights in evaluation mode; seed torch before the call."""
    return CopyDecoder(TINY_SHAPE, dropout=0.0).eval()


@lru_cache
def tiny_artifact_folder() -> Path:
    """The artifact of `seeded_decoder`, exported once a process, as that takes many seconds."""
    model, folder = seeded_decoder(), Path(tempfile.mkdtemp())
    export_graph(model, folder / WEIGHTS)
    tiny_tokenizer().save(str(folder / TOKENIZER))
    describe(folder, model.shape, "fp32", {}, TINY_LAYOUT)
    return folder
