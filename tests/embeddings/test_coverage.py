"""Coverage with each kind of vocabulary, learned on English alone or on three languages."""

import re
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from embeddings.coverage import VocabularyCoverage

ENGLISH = (
    "Honey bees gather nectar and turn it into honey, which the colony eats in winter.",
    "At sea level water boils at one hundred degrees; on a high mountain it boils earlier.",
    "Vaccines train the immune system to recognise a pathogen before it meets one.",
    "The train to the coast leaves every hour from platform four.",
)
RUSSIAN = (
    "Пчёлы собирают нектар и превращают его в мёд, которым семья питается зимой.",
    "На уровне моря вода кипит при ста градусах, а высоко в горах раньше.",
    "Поезд к морю отправляется каждый час с четвёртого пути.",
)
CHINESE = (
    "蜜蜂采集花蜜并把它酿成蜂蜜，供蜂群冬天食用。",
    "在海平面，水在一百摄氏度沸腾；在高山上沸点更低。",
    "开往海边的火车每小时从四号站台发车。",
)
EVERYTHING = (*ENGLISH, *RUSSIAN, *CHINESE)
SPECIAL = ["<unk>", "[UNK]"]


def word_pieces(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts * 5, trainer)
    return tokenizer


def unigram(texts: Sequence[str]) -> Tokenizer:
    """SentencePiece's model, with every word and every character of the texts as an entry."""
    words = sorted({f"▁{word}" for text in texts for word in re.findall(r"\w+", text)})
    characters = sorted({character for text in texts for character in text} | {"▁"})
    pieces = [("<unk>", 0.0), *((word, -8.0) for word in words), *((each, -12.0) for each in characters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def byte_pairs(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [f" {text}" for text in (*texts, *(" ".join(text) for text in texts))]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=3_000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts * 5, trainer)
    return tokenizer


def character_pairs(texts: Sequence[str]) -> Tokenizer:
    """BPE of characters that spells what it does not know in bytes, as Llama's and Gemma's do."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    in_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=3_000, special_tokens=SPECIAL + in_bytes, show_progress=False)
    tokenizer.train_from_iterator(texts * 5, trainer)
    return tokenizer


KINDS = pytest.mark.parametrize("kind", [word_pieces, unigram, byte_pairs, character_pairs])


@KINDS
def test_languages_of_the_vocabulary_are_known(kind: type) -> None:
    coverage = VocabularyCoverage(kind(EVERYTHING))
    for text in ("Honey bees gather nectar", "Пчёлы собирают нектар", "蜜蜂采集花蜜"):
        assert coverage.share(text) == 1


@KINDS
def test_other_scripts_are_not_known(kind: type) -> None:
    coverage = VocabularyCoverage(kind(ENGLISH))
    assert coverage.share("Honey bees gather nectar") == 1
    for text in ("Пчёлы собирают нектар", "蜜蜂采集花蜜", "ミツバチ", "벌이 꿀을 모은다"):
        assert coverage.share(text) == 0


@KINDS
def test_spelt_words_of_a_known_script_are_not_known(kind: type) -> None:
    assert VocabularyCoverage(kind(ENGLISH)).share("qzxjv wkqpz") == 0


@KINDS
def test_mixed_text_is_known_in_part(kind: type) -> None:
    assert VocabularyCoverage(kind(ENGLISH)).share("Пчёлы bees и nectar") == 0.5


@KINDS
def test_words_within_a_sentence_count_as_they_stand_there(kind: type) -> None:
    # Byte-level BPE has entries with the space before a word; without it these words would be spelt.
    coverage = VocabularyCoverage(kind(ENGLISH))
    assert coverage.share("the immune system") == coverage.share("system, immune; the") == 1


def test_large_vocabulary_is_judged_by_a_part_of_it() -> None:
    latin = [
        f"▁{first}{second}{number}" for first in "abcdefghij" for second in "klmno" for number in range(1_800)
    ]
    cyrillic = [f"▁{letter}{number}" for letter in "абвгд" for number in range(60)]
    pieces = [("<unk>", 0.0), *((piece, -8.0) for piece in (*latin, *cyrillic))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    coverage = VocabularyCoverage(tokenizer)
    assert coverage.share("ak17 bl3 jo1799") == 1
    assert coverage.share("а17 б3") == 0  # entries of their own, of a script with too few


def test_entries_of_byte_level_bpe_are_read_as_text() -> None:
    # "Ġ" and the signs of bytes are Latin letters: read as they stand, every vocabulary would be Latin.
    assert VocabularyCoverage(byte_pairs(RUSSIAN)).share("Honey bees gather nectar") == 0
