"""Which spans of a text recur in other sentences of it, and which of them are worth asking for."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from generation.sentences import Span, split_sentences

MAX_SPAN_WORDS = 8

WORD = re.compile(r"\w+(?:[.,’']\w+)*")
_JOINT = re.compile(r"[ \n]|[-–/&]| & |, |’|'")  # what may stand between two words of one span
_HYPHENS = frozenset("-–\u2010\u2011")
_STOP = frozenset(
    word
    for line in (
        "a about above across after again against all almost along already also although always am among an",
        "and another any anyone anything are around as at away back be became because become becomes been",
        "before began being below best better between both but by came can cannot come comes could did",
        "different do does doing done down during each either else even ever every everyone everything far",
        "few finally find first for found from further gave get gets give given go goes going gone good got",
        "great had has have having he hence her here hers herself him himself his how however i if in",
        "include includes including indeed instead into is it its itself just keep kept kind know known",
        "large last later least less let like likely little long look made mainly make makes making many",
        "may me means might more most mostly much must my near need never new next no nor not nothing now",
        "of off often old on once one ones only onto or other others our out over own part people per",
        "perhaps possible put quite rather really right said same saw say says see seem seems seen set",
        "several shall she should show since small so some something sometimes soon still such sure take",
        "taken takes tell than that the their them themselves then there therefore these they thing things",
        "this those though through thus till time times to together told too took toward towards try under",
        "until up upon us use used uses using usually very via want was way ways we well went were what",
        "when where whether which while who whole whom whose why will with within without would yes yet you",
        "your yours yourself s t re ve ll d m don didn doesn isn wasn couldn wouldn et al e.g i.e etc",
    )
    for word in line.split()
)
# A span with one of these is a clause rather than an answer.
_CLAUSE = frozenset(
    {"is", "are", "was", "were", "has", "have", "had", "be", "been", "it", "they", "he", "she"}
)
_CLAUSE_TOO = frozenset(
    {"that", "which", "who", "where", "when", "can", "could", "may", "might", "will", "did"}
)
_LEANING = frozenset({"he", "she", "it", "they", "this", "these", "that", "those", "such", "his", "her"})
_LEANING_TOO = frozenset({"its", "their", "there", "then", "but", "and", "so", "or", "however", "both", "i"})


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text. start, end: code points; sentence: number of its sentence; key: in lower case."""

    start: int
    end: int
    sentence: int
    key: str
    capital: bool
    joined: bool  # may belong to one span with the word before it

    @property
    def content(self) -> bool:
        """Whether a span may begin or end with it."""
        return self.key not in _STOP and len(self.key) > 1


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A span that recurs. length: in words; starts: numbers of the first words of all occurrences."""

    length: int
    starts: tuple[int, ...]


class Passage:
    """A text with its sentences and words."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sentences: list[Span] = split_sentences(text)
        self.words: list[Word] = []
        for number, (start, end) in enumerate(self.sentences):
            for match in WORD.finditer(text, start, end):
                self._add(match.start(), match.end(), number)
        self._content: dict[int, set[str]] = defaultdict(set)
        self._opening: dict[int, str] = {}
        for word in self.words:
            self._opening.setdefault(word.sentence, word.key)
            if word.content:
                self._content[word.sentence].add(word.key)

    def _add(self, start: int, end: int, sentence: int) -> None:
        before = self.words[-1] if self.words else None
        name = self.text[start].isupper() or self.text[start].isdigit()
        joined = (
            before is not None
            and before.sentence == sentence
            and _JOINT.fullmatch(self.text, before.end, start) is not None
            and (self.text[before.end] != "," or (before.capital and name))
        )
        self.words.append(Word(start, end, sentence, self.text[start:end].casefold(), name, joined))

    def span(self, start: int, length: int) -> Span:
        """Code points of `length` words from word `start` on."""
        return self.words[start].start, self.words[start + length - 1].end

    def recurrences(self, common: frozenset[str]) -> list[Recurrence]:
        """The maximal spans that stand in two or more sentences. common: words that are too frequent to be a
        span on their own.
        """
        places: dict[str, list[int]] = defaultdict(list)
        for index, word in enumerate(self.words):
            if word.content:
                places[word.key].append(index)
        found = []
        for key in self._maximal(places.values()):
            starts = tuple(i for i in places[key[0]] if self._stands(i, key))
            sentences = {self.words[i].sentence for i in starts}
            if len(sentences) > 1 and self._worth(key, starts, common):
                found.append(Recurrence(len(key), starts))
        return found

    def _maximal(self, places: Iterable[list[int]]) -> Iterable[tuple[str, ...]]:
        """Runs of words that two places share and that cannot be longer there; no stop word at the ends."""
        keys: dict[tuple[str, ...], None] = {}
        covered: dict[int, int] = {}  # by distance of the two places: where the last run ends
        for i, j in sorted(pair for found in places for pair in combinations(found, 2)):
            if covered.get(j - i, 0) <= i:
                length = self._shared(i, j)
                covered[j - i] = i + length
                keys.setdefault(tuple(word.key for word in self.words[i : i + length]))
        return keys

    def _shared(self, i: int, j: int) -> int:
        """Words that the runs from i and from j on share, up to the last one that is no stop word."""
        kept = 1
        for length in range(1, min(MAX_SPAN_WORDS, len(self.words) - j)):
            one, other = self.words[i + length], self.words[j + length]
            if one.key != other.key or not (one.joined and other.joined):
                break
            if one.content:
                kept = length + 1
        return kept

    def _stands(self, i: int, key: tuple[str, ...]) -> bool:
        run = self.words[i : i + len(key)]
        return tuple(word.key for word in run) == key and all(word.joined for word in run[1:])

    def _worth(self, key: tuple[str, ...], starts: tuple[int, ...], common: frozenset[str]) -> bool:
        """Whether several words are no clause; a single word has to be a name, a number or rare, and neither
        participle nor adverb.
        """
        if len(key) > 1:
            return _CLAUSE.isdisjoint(key) and _CLAUSE_TOO.isdisjoint(key)
        inner = [self.words[i] for i in starts if self._inside(i)]
        if key[0][0].isdigit() or (inner and all(word.capital for word in inner)):
            return True
        return key[0] not in common and not key[0].endswith(("ed", "ly"))

    def _inside(self, index: int) -> bool:
        """Whether a word is not the first one of its sentence."""
        return index > 0 and self.words[index - 1].sentence == self.words[index].sentence

    def breaks_name(self, first: int, length: int) -> bool:
        """Whether a span is only a part of a longer name or of a word with a hyphen."""
        start, end = self.span(first, length)
        if self.text[start - 1 : start] in _HYPHENS or self.text[end : end + 1] in _HYPHENS:
            return True
        words, last = self.words, first + length
        opens = words[first].joined and words[first].capital and self._inside(first - 1)
        closes = last < len(words) and words[last].joined and words[last].capital
        return (opens and words[first - 1].capital) or (closes and words[last - 1].capital)

    def promise(self, asked: int, found: Recurrence) -> float:
        """How good a question the sentence of the occurrence `asked` makes.

        Counted: content words that it shares with a sentence that answers it, a long span, a name or a number
        as the span; against it: a span that is half a noun phrase, a sentence that leans on the one before.
        """
        here = self.words[asked].sentence
        keys = {word.key for word in self.words[asked : asked + found.length]}
        content = self._content[here] - keys
        others = {self.words[start].sentence for start in found.starts} - {here}
        score = 0.4 * min(found.length, 4) + min(3, max(len(content & self._content[o]) for o in others))
        score += self.words[asked].capital and self._inside(asked)
        score -= self._modifies(asked + found.length) * (1 if found.length > 1 else 2.5)
        return score - (self._opening[here] in _LEANING or self._opening[here] in _LEANING_TOO)

    def _modifies(self, following: int) -> bool:
        """Whether the word after a span seems to be the noun that the span belongs to."""
        if following >= len(self.words):
            return False
        word = self.words[following]
        return word.content and word.joined and not word.key.endswith("ed")
