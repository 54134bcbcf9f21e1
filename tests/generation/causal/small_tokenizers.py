"""Tokenizers of the kinds that decoders have, trained on a few sentences of three languages."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SENTENCES = (
    "The tower in Paris is 330 metres tall, and it was built in 1889.",
    "Башня в Париже высотой 330 метров была построена в 1889 году.",
    "巴黎的铁塔高三百三十米，建于一八八九年。",
    '{"name": "tower", "height": 330}',
)


@cache
def byte_level() -> Tokenizer:
    """As GPT-2 and Qwen have: tokens are runs of bytes, so that a character may be split. Token 0 ends."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


@cache
def byte_fallback() -> Tokenizer:
    """As Llama 2 and Mistral have: blanks are written ▁, and unknown characters as tokens of one byte.
    Token 0 is unknown, token 1 ends.
    """
    bytes_of_fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    characters = sorted(set("▁" + SENTENCES[0].replace(" ", "▁")))
    pieces = ["<unk>", "</s>", *bytes_of_fallback, *characters, "▁t", "▁i", "in", "▁in"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: place for place, piece in enumerate(pieces)},
            merges=[("▁", "t"), ("▁", "i"), ("i", "n"), ("▁", "in")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


@cache
def metaspace() -> Tokenizer:
    """As SentencePiece's unigram models have: a blank before each word belongs to its token. Token 0 ends."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer
