"""Which script a text is written in, as far as answers depend on it."""

import re

# Kana and Han, for a character class: scripts without spaces, in which one character counts as a word.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"

_WORD = re.compile(rf"[{CJK}]|[^\W\d_{CJK}]+")


def mostly_latin(text: str) -> bool:
    """Whether most words begin with a Latin letter; true for a text without letters."""
    initials = [word[0] for word in _WORD.findall(text)]
    latin = sum(letter < "\u0250" or "\u1e00" <= letter <= "\u1eff" for letter in initials)
    return not initials or 2 * latin > len(initials)
