"""What the sentences of a passage state, as people would search for it."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from generation.scripts import CJK
from generation.sentences import split_sentences
from retrieval.analysis import looks_like_code, names_code
from training.siamese.term_weights import TermWeights

MIN_WORDS = 5
MAX_WORDS = 35

_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
# Collections that were tokenised put the full stop between spaces and have no capital letters.
_LOOSE_STOP = re.compile(r"(?<=\s)[.!?](?=\s|$)")
_COMMENT = re.compile(
    r'"""(?P<double>.+?)(?:"""|\Z)|\'\'\'(?P<single>.+?)(?:\'\'\'|\Z)|/\*+(?P<block>.+?)(?:\*/|\Z)'
    r"|(?:#|//)[ \t]*(?P<line>[^\n]+)",
    re.DOTALL,
)
_DOCSTRING = re.compile(r'"""|\'\'\'|^\s*:(?:param|return)\b', re.MULTILINE)
_MARKUP_LINE = re.compile(
    r"^\s*(?::\w+|@\w+|Args?:|Returns?:|Parameters|>>>|[-=*]{3,}).*", re.DOTALL | re.MULTILINE
)
_BRACKETS = re.compile(r"\s*\([^()]*\)|\s*\[[^\[\]]*\]")
_LABEL = re.compile(r"(?:[A-Z]{4,}(?: AND|[A-Z ]{4,})*:? (?=[A-Z][a-z])|[A-Z][a-z]+(?: [a-z]+)?: (?=[A-Z]))")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_+")
_KEYWORD = re.compile(
    r"def|class|func|function|fn|public|private|static|void|self|return|async|var|let|const"
)
# "These results suggest that X": people search for X.
_LINKING = re.compile(
    r"(?:however|moreover|furthermore|thus|therefore|hence|additionally|interestingly|notably|importantly"
    r"|consequently|conversely|finally|overall|together|collectively|taken together|surprisingly|similarly"
    r"|in (?:conclusion|summary|contrast|addition|particular|this (?:study|paper|work|report|article)|fact)"
    r"|here|for example|for instance|as a result|on the other hand|also|but|and|so|then)\b\s*,?\s*",
    re.IGNORECASE,
)
_REPORTING = re.compile(
    r"(?:(?:these|the|our|this|those|present|recent|such|both|several|previous|new|a|an)\s+)*"
    r"(?:(?:\w+\s+){0,2}(?:results?|data|findings?|stud(?:y|ies)|analys[ie]s|work|observations?|experiments?"
    r"|evidence|authors?|paper|report|we|they|it))\s+"
    r"(?:(?:is|was|are|were|has|have|been|also|further|here|thus|therefore|strongly|clearly|now|can|then)\s+)*"
    r"(?:show|shows|showed|shown|demonstrates?|demonstrated|suggests?|suggested|finds?|found|indicates?"
    r"|indicated|reveals?|revealed|reports?|reported|concludes?|concluded|proposes?|proposed|hypothesi[sz]ed?"
    r"|confirms?|confirmed|observed|noted|establish(?:ed)?|proved?|proven|seen|argued?|provided? evidence)\s+"
    r"(?:here\s+)?that\s+",
    re.IGNORECASE,
)
# Only what stands before the sentence tells whom it is about.
_DANGLING = re.compile(
    r"(?:it|its|they|them|their|this|these|those|that|he|she|his|her|such|we|our|i|my|here|there|which)\b",
    re.IGNORECASE,
)


def count_words(text: str) -> int:
    """A character counts as a word where there are no spaces."""
    return len(_WORD.findall(text))


def bare(text: str) -> str:
    """On one line, without the mark at its end."""
    return " ".join(text.split()).rstrip(" .。;:,")


def claim(sentence: str) -> str:
    """What a sentence states, without linking words, "we found that", brackets and the full stop."""
    left = " ".join(sentence.split())
    without = _BRACKETS.sub("", left)
    left = without if count_words(without) >= MIN_WORDS else left
    for pattern in (_LABEL, _LINKING, _LINKING, _REPORTING):
        cut = pattern.match(left)
        if cut and count_words(left[cut.end() :]) >= MIN_WORDS:
            left = left[cut.end() :]
    return bare(left[:1].upper() + left[1:] if sentence[:1].isupper() else left)


def spoken_name(heading: str) -> str:
    """A heading without the marks of its end; `def read_file(path):` becomes "read file path"."""
    if not names_code(heading):
        return bare(heading)
    words = _HUMP.sub(" ", heading).lower()
    return " ".join(word for word in _WORD.findall(words) if not _KEYWORD.fullmatch(word))


def telling_sentences(text: str, weights: TermWeights) -> list[str]:
    """Sentences that can be understood alone, as they stand in the text, most telling first.

    They are weighed by the rare words that they have; those that other sentences speak of, too, count twice.
    None of a text of one sentence, which is nothing without it. Of source code its comments are the text.
    """
    sentences = list(_sentences(text))
    if len(sentences) < 2 and not _is_code(text):
        return []
    spoken = Counter(term for sentence in sentences for term in weights.content(sentence))

    def salience(sentence: str) -> float:
        total = sum(weights.weight(term) * min(spoken[term], 2) for term in weights.content(sentence))
        return float(total / max(count_words(sentence), 1) ** 0.5)

    return sorted(dict.fromkeys(filter(_stands_alone, sentences)), key=salience, reverse=True)


def _sentences(text: str) -> Iterator[str]:
    parts = _comments(text) if _is_code(text) else [text]
    for part in parts:
        for start, end in split_sentences(part):
            borders = [start, *(stop.end() for stop in _LOOSE_STOP.finditer(part, start, end)), end]
            pieces = (part[first:last].strip() for first, last in pairwise(borders))
            yield from filter(None, pieces)


def _is_code(text: str) -> bool:
    return looks_like_code(text) or _DOCSTRING.search(text) is not None


def _comments(code: str) -> Iterator[str]:
    for found in _COMMENT.finditer(code):
        yield _MARKUP_LINE.sub("", found[found.lastgroup or 0])


def _stands_alone(sentence: str) -> bool:
    stated = claim(sentence)
    fits = MIN_WORDS <= count_words(stated) <= MAX_WORDS
    return fits and not _DANGLING.match(stated) and not looks_like_code(stated)
