"""What altered questions are made of: a context's sentences, names and nouns, found by rule.

No tagger: a name is a run of capitals, a noun is what stands between a determiner or preposition and a
word that ends a noun phrase.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from generation.sentences import Span, split_sentences

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_CAPITAL = r"(?:(?:[A-Z]|St|Mt|Mr|Mrs|Dr|Jr)\.|[A-Z](?:[\w’']|-(?=\w))*)"
_NAME = re.compile(rf"\b{_CAPITAL}(?:(?: (?:of|the|de|von|van|la|al)){{0,2}} {_CAPITAL})*")
NOUN = re.compile(
    r"\b(?:(?:the|an?|its|his|her|their) (?:[a-z]{3,} )?(?=[a-z]+ (?:of|in)\b)"
    r"|(?:the|an?|of|its|his|her|their|in|by|with|from|for) )"
    r"(?P<noun>[a-z]{4,})"
    r"(?= (?:of|in|is|was|are|were|and|that|which|for|on|from|with|at|by|has|had|have|as|or|called|used|made)"
    r"\b|[,.;:?!)]|$)"
)
_STOP = (
    "a an the of to in on at for from by with and or but as is are was were be been it its he she they "
    "them his her their this that these those had has have did do does would could will can not who whom "
    "which what when where why how than then there many much name type kind during after before"
)
_NAME_START = (
    "The A An In On At It He She They His Her Their This That These Those There When While After Before "
    "As For By With From And But Or If Although However What Who Which Where Why How Since During Also "
    "Some Many Most One Its To Of Other According Both All Each Such Under Between Through Because Not No "
    "Another We You Later Despite Besides Among Within Until Once Then So Yet Even Only"
)
_MONTHS = "January February March April May June July August September October November December"
# Words that are no noun although they stand where one could.
_NO_NOUN = (
    "also less more most least same other others another such each both either only just even very "
    "some few all this that these those them there then than what when where which whom whose well not "
    "first second third fourth fifth sixth seventh eighth ninth tenth last next half being having doing"
)
_STOP_WORDS = frozenset(_STOP.split())
_OPENERS = frozenset(f"{_NAME_START} {_MONTHS}".split())
_NOT_NOUNS = frozenset(f"{_STOP} {_NO_NOUN}".split())


@dataclass(slots=True)
class Passage:
    """A context: its sentences as spans and as word stems; names with the words that stand before them."""

    spans: list[Span]
    stems: list[frozenset[str]] = field(default_factory=list)
    names: dict[str, set[str]] = field(default_factory=dict)
    nouns: list[str] = field(default_factory=list)


def read_passage(text: str) -> Passage:
    """Find the names and nouns of a context; a name that also stands there in small letters is none."""
    passage = Passage(split_sentences(text))
    found: list[str] = []
    for start, end in passage.spans:
        sentence = text[start:end]
        passage.stems.append(stems(sentence))
        found += names(sentence)
        passage.nouns += [match["noun"] for match in NOUN.finditer(sentence)]
    small = set(WORD.findall(text))
    passage.names = {name: cues(text, name) for name in dict.fromkeys(found) if name.lower() not in small}
    passage.nouns = [noun for noun in dict.fromkeys(passage.nouns) if is_noun(noun)]
    return passage


def names(sentence: str) -> list[str]:
    """Capitalised phrases without the function words before them. A single word counts where it does not
    begin the sentence (or a quotation), so that its capital says something.
    """
    found = []
    for match in _NAME.finditer(sentence):
        words = match[0].split()
        kept = words
        while kept and (kept[0] in _OPENERS or kept[0].islower()):
            kept = kept[1:]
        begins = not re.search(r"[\w,;)] $", sentence[: match.start()])
        kept = kept[: kept.index("No")] if "No" in kept else kept
        if 1 + (begins and len(kept) == len(words)) <= len(kept) <= 5:
            found.append(re.sub(r"['’]s$", "", " ".join(kept)))
    return [name for name in found if not re.search(r"['’](?:t|s|ll|re|ve|d|m)\b", name)]


def cues(text: str, name: str) -> set[str]:
    """The words before a name, which tell persons from places and things."""
    pieces = text.lower().split(f" {name.lower()}")[:-1]
    return {found[0].lower() for piece in pieces if (found := WORD.findall(piece[-20:])[-1:])}


def is_noun(word: str) -> bool:
    """Whether a word in a noun's place may be one."""
    return word not in _NOT_NOUNS and not word.endswith("ly")


@lru_cache(maxsize=100_000)
def stems(text: str) -> frozenset[str]:
    """Content words in small letters without their commonest endings."""
    words = {word.lower() for word in WORD.findall(text)} - _STOP_WORDS
    return frozenset(
        re.sub(r"(?:['’]s|ing|ed|es|s|ly)$", "", word) if len(word) > 4 else word for word in words
    )
