"""How well a tokenizer knows the words of a text: the sign that an encoder is out of its depth."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer

# A word, or one ideograph where a script does not write spaces between words.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+")
# A vocabulary that learned a script holds thousands of its entries. BERT's English one: 26,658 Latin,
# 488 CJK, 86 Cyrillic (single letters, which spell a Russian word without knowing it).
_MIN_SCRIPT_ENTRIES = 1_000
# Characters a piece, on average, below which a word is spelt rather than known.
_MIN_PIECE_CHARS = 2.0


class VocabularyCoverage:
    """Measures the share of a text's words that a tokenizer knows well."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        entries = Counter(_script(entry) for entry in map(_first_letter, tokenizer.get_vocab()) if entry)
        self._scripts = {script for script, count in entries.items() if count >= _MIN_SCRIPT_ENTRIES}
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._unknown_id = tokenizer.token_to_id(unknown) if unknown else None

    def share(self, text: str) -> float:
        """The share of known words in `text`, 0 to 1; 1 for a text without words, where nothing is unknown.

        A word is known when its script is one the vocabulary was learned on, no piece of it is unknown, and
        it is one piece or its pieces have two characters or more on average. Numbers count in every script.
        """
        words: list[str] = _WORD.findall(text)
        if not words:
            return 1.0
        encodings = self._tokenizer.encode_batch_fast(words, add_special_tokens=False)
        pieces: Iterable[tuple[str, list[int]]] = zip(words, (e.ids for e in encodings), strict=True)
        return sum(self._knows(word, ids) for word, ids in pieces) / len(words)

    def _knows(self, word: str, ids: list[int]) -> bool:
        letter = _first_letter(word)
        if letter and _script(letter) not in self._scripts:
            return False
        if self._unknown_id in ids:
            return False
        return len(ids) <= 1 or len(word) / len(ids) >= _MIN_PIECE_CHARS


def _first_letter(text: str) -> str:
    return next((character for character in text if character.isalpha()), "")


def _script(letter: str) -> str:
    """The first word of the character's Unicode name: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
