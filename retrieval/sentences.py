"""Where sentences start, in English, Russian and Chinese."""

import re
from collections.abc import Iterator

_LATIN_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s)")  # linear on runs of dots
_CJK_END = re.compile(r"[。！？]+[”’」』）】\"')]*")
_BORDER = re.compile(f"(?P<cjk>{_CJK_END.pattern})|(?P<latin>{_LATIN_END.pattern})")
_LAST_WORD = re.compile(r"([^\W\d_]+(?:\.[^\W\d_]+)*)$")
_LIST_NUMBER = re.compile(r"(?:\A|\n)[ \t>]*\d{1,3}\Z")
# Without those that often end a sentence (etc., др.): a false border costs less than a missed one.
_ABBREVIATION_LIST = """
    mr mrs ms dr prof st sr jr vs fig figs eq vol pp ed eds al approx dept est inc ltd co corp i.e e.g cf ca
    resp sec jan feb mar apr jun jul aug sep sept oct nov dec gov sen rep rev hon
    г гг вв т тт т.е т.к см рис табл ул кв им проф акад коп млн млрд тыс стр гл ст пп
    """
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())


def sentence_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Yield where each sentence of `text[start:end]` starts, the first non-space character of the span first.

    A full stop ends no sentence after an abbreviation, an initial or a list number, or before a small letter.
    """
    first = _skip_spaces(text, start, end)
    if first < end:
        yield first
    for match in _BORDER.finditer(text, start, end):
        following = _skip_spaces(text, match.end(), end)
        if following < end and (match["cjk"] or _ends_sentence(text, match, following, first)):
            yield following


def _skip_spaces(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _ends_sentence(text: str, match: re.Match[str], following: int, first: int) -> bool:
    if text[following].islower():
        return False
    if match[0][0] != ".":
        return True
    before = text[max(first, match.start() - 20) : match.start()]
    if _LIST_NUMBER.search(before):
        return False
    word = _LAST_WORD.search(before)
    if word is None:
        return True
    initial = len(word[1]) == 1 and word[1].isupper()
    return not (initial or word[1].lower() in _ABBREVIATIONS)
