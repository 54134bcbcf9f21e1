"""Where the sentences of a text stand, in English, Russian and Chinese, also mixed.

Rules of our own: sentencex 1.0.32 (4 MB) got 6 of the first 7 Russian cases of
tests/generation/test_sentences.py wrong and was behind in English too (SelQA dev, inner boundaries: precision
0.980 and recall 0.902, here 0.997 and 0.940), and pysbd's last release is of 2021.
"""

import re

Span = tuple[int, int]


def _word_set(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# A full stop after one of these never ends a sentence: a name, a number or an explanation follows.
_LEADING = _word_set(
    "dr mr mrs ms messrs prof rev hon gen col capt lt sgt maj sen rep gov pres st mt ft no nos fig figs eq",
    "eqs sec secs ch vol pp p vs cf e.g i.e eg ie viz approx ca al ed eds tab ref refs",
    "т.е т.к т.н см ср рис табл стр гл ст п пп проф акад доц ул пр пер пл им св о-в г-н г-жа тов кв корп",
    "напр англ лат нем фр греч ред изд прим тел",
)
# A full stop after one of these ends a sentence only before a word that usually starts one.
_UNDECIDED = _word_set(
    "inc ltd co corp bros jr sr esq etc jan feb mar apr jun jul aug sept sep oct nov dec mon tue wed thu",
    "fri sat sun dept univ assn ave blvd rd dist est min max ph.d m.d b.a m.a d.c a.m p.m u.s u.k u.n u.s.a",
    "г гг в вв н.э до.н.э д руб коп тыс млн млрд чел км кг см мм мин сек ок",
)
_STARTERS = _word_set(
    "the a an it he she they we i you this that these those there here his her its their our my in on at",
    "by for from to with as if when while after before since although though however but and or so then",
    "what who why how where some many most all both each one no not",
    "он она оно они мы вы я это этот эта эти тот та те там тут здесь его её ее их в во на с со по но а и",
    "к о об из за при для как так если когда хотя затем потом также однако после до у не что кто где почему",
)
_CLOSERS = "\"'”’»)\\]」』）】》〉*_`"
_OPENERS = "\"'“‘«„([「『（【《〈*_`"
_BOUNDARY = re.compile(
    rf"(?P<cjk>[。！？｡]+[{_CLOSERS}]*)"
    rf"|(?P<stop>[.!?…]+)[{_CLOSERS}]*(?=\s|$)"
    r"|(?P<block>\n[^\S\n]*(?=\n|[-*+•#|>]|\d{1,3}[.)]\s))"
    r"|(?P<heading>(?<=\n)#{1,6}\s[^\n]*(?=\n)|\A#{1,6}\s[^\n]*(?=\n))"
)
_WORD_BEFORE = re.compile(r"\b(?:(?:[^\W\d_]\.[ \u00a0]?)+[^\W\d_]|[\w.-]*[\w-])$")  # "т. е", "U.S", "Fig"
_NEXT = re.compile(rf"\s*[{re.escape(_OPENERS)}]*(?P<word>[\w-]*)(?P<after>.?)")
_NUMBER_BEFORE = re.compile(r"\d\s*(?:(?:тыс|млн|млрд)\.?\s*)?$")
_WORD_WINDOW = 40  # characters looked back for the word before a full stop; keeps the scan linear


def split_sentences(text: str) -> list[Span]:
    """The sentences of a text as `[start, end)` spans in code points, in order, without the space around
    them.

    Together they cover every character that is not white space. A blank line, a list item and a heading line
    end a sentence too; a single line break does not.
    """
    spans: list[Span] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if match["stop"] and not _ends_sentence(text, start, match):
            continue
        _add_trimmed(spans, text, start, match.end())
        start = match.end()
    _add_trimmed(spans, text, start, len(text))
    return spans


def _add_trimmed(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        begin = start + piece.index(stripped[0])
        spans.append((begin, begin + len(stripped)))


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the mark found ends a sentence that began at or after `start`."""
    following = _NEXT.match(text, match.end())
    word, after = (following["word"], following["after"]) if following else ("", "")
    if not word:
        return after not in ("—", "–")  # «Стой!» — крикнул он.
    if word[0].islower():
        return False
    return match["stop"] != "." or _period_ends_sentence(text, start, match.start("stop"), word, after)


def _period_ends_sentence(text: str, start: int, period: int, word: str, after: str) -> bool:
    before = _WORD_BEFORE.search(text[max(start, period - _WORD_WINDOW) : period])
    if before is None:
        return True
    token = before[0].replace(" ", "").replace("\u00a0", "").lower()
    if token.replace(".", "").isdigit():
        return text[start:period].strip() != token  # "1. Install" is a list item
    if token in _LEADING:
        return False
    initials = all(len(part) == 1 for part in token.split("."))
    if token in _UNDECIDED or initials:
        return _starts_sentence(word, after) or _closes_measure(text, period, token, word)
    return True


def _starts_sentence(word: str, after: str) -> bool:
    """Whether the word is one that often opens a sentence; a letter with a full stop is an initial."""
    return word.lower() in _STARTERS and after != "."


def _closes_measure(text: str, period: int, token: str, word: str) -> bool:
    """Whether a Russian "и т. д." or a unit behind a number ("в 1950 г.", "5 руб.") stands before a capital
    letter.
    """
    if not word[0].isupper():
        return False
    if token in ("т.д", "т.п"):
        return True
    preceding = text[max(0, period - _WORD_WINDOW) : period - len(token)]
    return "\u0400" <= token[0] <= "\u04ff" and _NUMBER_BEFORE.search(preceding) is not None
