"""How well a tokenizer knows the words of a text: the sign that an encoder is out of its depth."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from tokenizers import Tokenizer

# A word, or one ideograph where a script does not write spaces between words.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+")
# A vocabulary that learned a script holds thousands of its entries, or a good part of a small vocabulary.
# BERT's English one: 26,658 Latin, 488 CJK, 86 Cyrillic (single letters, which spell a Russian word without
# knowing it).
_MIN_SCRIPT_ENTRIES = 1_000
_MIN_SCRIPT_SHARE = 0.05
# Entries that are looked at; of a larger vocabulary every n-th. All 250,000 of XLM-R's would take 1.7 s.
_MOST_ENTRIES = 40_000
# Characters a piece, on average, below which a word is spelt rather than known.
_MIN_PIECE_CHARS = 2.0
# Pieces that stand for the space before a word: of SentencePiece and of byte-level BPE.
_SPACES = ("\u2581", "\u0120")
_UNKNOWN = ("<unk>", "[UNK]")


class VocabularyCoverage:
    """Measures the share of a text's words that a tokenizer knows well.

    Serves WordPiece, Unigram and BPE, of characters or of bytes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._scripts = _learned_scripts(tokenizer)
        self._unknown_id = _unknown_id(tokenizer)
        self._space_ids = {tokenizer.token_to_id(piece) for piece in _SPACES} - {None, self._unknown_id}

    def share(self, text: str) -> float:
        """The share of known words in `text`, 0 to 1; 1 for a text without words, where nothing is unknown.

        A word is known when its script is one the vocabulary was learned on, no piece of it is unknown, and
        it is one piece or its pieces have two characters or more on average. Numbers count in every script.
        """
        words: list[str] = _WORD.findall(text)
        if not words:
            return 1.0
        # With the space before it a word of byte-level BPE is the entry that stands for it in a sentence.
        encodings = self._tokenizer.encode_batch_fast(
            [f" {word}" for word in words], add_special_tokens=False
        )
        pieces: Iterable[tuple[str, list[int]]] = zip(words, (e.ids for e in encodings), strict=True)
        return sum(self._knows(word, ids) for word, ids in pieces) / len(words)

    def _knows(self, word: str, ids: list[int]) -> bool:
        letter = _first_letter(word)
        if letter and _script(letter) not in self._scripts:
            return False
        if self._unknown_id in ids:
            return False
        pieces = sum(piece not in self._space_ids for piece in ids)
        return pieces <= 1 or len(word) / pieces >= _MIN_PIECE_CHARS


def _learned_scripts(tokenizer: Tokenizer) -> set[str]:
    vocabulary = tokenizer.get_vocab()
    step = -(-len(vocabulary) // _MOST_ENTRIES)
    entries: Iterable[str] = (entry for entry, number in vocabulary.items() if number % step == 0)
    if any("ByteLevel" in str(part) for part in (tokenizer.pre_tokenizer, tokenizer.decoder)):
        entries = map(_text_of_bytes, entries)
    counts = Counter(_script(letter) for letter in map(_first_letter, entries) if letter)
    enough = min(_MIN_SCRIPT_ENTRIES / step, _MIN_SCRIPT_SHARE * counts.total())
    return {script for script, count in counts.items() if count >= enough}


def _text_of_bytes(entry: str) -> str:
    """What an entry of byte-level BPE stands for, as far as its bytes are whole characters."""
    return bytes(_BYTES[sign] for sign in entry if sign in _BYTES).decode("utf-8", errors="ignore")


def _byte_alphabet() -> dict[str, int]:
    """The sign that stands for each byte. Source: GPT-2's bytes_to_unicode."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    # The Unigram model keeps its unknown piece to itself.
    names = (getattr(tokenizer.model, "unk_token", None), *_UNKNOWN)
    return next(
        (found for name in names if name and (found := tokenizer.token_to_id(name)) is not None), None
    )


def _first_letter(text: str) -> str:
    return next((character for character in text if character.isalpha()), "")


@lru_cache(maxsize=10_000)
def _script(letter: str) -> str:
    """The first word of the character's Unicode name: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
