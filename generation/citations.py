"""Footnotes: from a piece of an answer to the exact characters that it stands on.

A citation exists only when its quote is, character by character, what the source holds at its offsets. What
cannot be cited stays unsupported; the bar is never lowered to find a citation.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from generation.scripts import CJK
from generation.sentences import Span, split_sentences
from generation.types import Citation, Source

_WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+(?:['’][^\W{CJK}]+)*")
_UNMARKED = frozenset(("a", "an", "the"))


def cite(source: Source, start: int, end: int, quote: str) -> Citation | None:
    """The citation of `[start, end)` in the source's text, numbered 0; None when the source does not hold
    `quote` there.
    """
    inside = 0 <= start < end <= len(source.text)
    if not inside or source.text[start:end] != quote:
        return None
    return Citation(
        number=0,
        document_id=source.document_id,
        version=source.version,
        start=source.start + start,
        end=source.start + end,
        quote=quote,
        title=source.title,
        page=source.page,
    )


def align(sentence: str, sources: Sequence[Source]) -> Citation | None:
    """The citation of a sentence that was written freely, or None.

    Exact: the words stand in a source in this order, apart from case, punctuation and space; the quote runs
    from the first to the last of them. Near: one sentence of a source holds every word, each as often,
    articles aside; the quote is that sentence. So a word that the source lacks ("not", a number, a name)
    leaves the sentence unsupported. The first source with an exact match comes before any near one. Numbered
    0.
    """
    words = [word for word, _ in _words(sentence)]
    for find in (_find_words, _find_sentence):
        for source in sources:
            span = find(words, source.text) if words else None
            if span is not None:
                return cite(source, *span, source.text[slice(*span)])
    return None


class CitationList:
    """The numbered citations of one answer. The same span of the same document version keeps its number."""

    def __init__(self) -> None:
        self.citations: list[Citation] = []

    def add(self, citation: Citation) -> int:
        """The citation's number, starts at 1."""
        for known in self.citations:
            if replace(known, number=citation.number) == citation:
                return known.number
        self.citations.append(replace(citation, number=len(self.citations) + 1))
        return len(self.citations)


def _words(text: str) -> list[tuple[str, Span]]:
    """Words in lower case with their spans; a Chinese or Japanese character is a word."""
    return [(match[0].lower(), match.span()) for match in _WORD.finditer(text)]


def _find_words(words: Sequence[str], text: str) -> Span | None:
    found = _words(text)
    for first in range(len(found) - len(words) + 1):
        run = found[first : first + len(words)]
        if [word for word, _ in run] == words:
            return run[0][1][0], run[-1][1][1]
    return None


def _find_sentence(words: Sequence[str], text: str) -> Span | None:
    needed = Counter(word for word in words if word not in _UNMARKED)
    for start, end in split_sentences(text):
        if needed and needed <= Counter(word for word, _ in _words(text[start:end])):
            return start, end
    return None
