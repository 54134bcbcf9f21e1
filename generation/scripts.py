"""Which script a text is written in, as far as answers depend on it."""

import re
from collections import Counter
from typing import Literal

# Kana and Han, for a character class: scripts without spaces, in which one character counts as a word.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"

Language = Literal["en", "ru", "zh"]

_WORD = re.compile(rf"[{CJK}]|[^\W\d_{CJK}]+")


def mostly_latin(text: str) -> bool:
    """Whether most words begin with a Latin letter; true for a text without letters."""
    initials = [word[0] for word in _WORD.findall(text)]
    latin = sum(letter < "\u0250" or "\u1e00" <= letter <= "\u1eff" for letter in initials)
    return not initials or 2 * latin > len(initials)


def language_of(text: str) -> Language:
    """The language to speak to a decoder in: that of the script of most words; Chinese and Russian are full
    of Latin names, so they win a tie.
    """
    scripts = Counter(_script_of(word[0]) for word in _WORD.findall(text))
    order: tuple[Language, ...] = ("zh", "ru", "en")
    return max(order, key=lambda language: scripts[language]) if scripts else "en"


def _script_of(letter: str) -> str:
    if "\u0400" <= letter <= "\u052f":
        return "ru"
    return "zh" if re.match(f"[{CJK}]", letter) else "en"
