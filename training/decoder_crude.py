"""A sentence with a blank becomes something that looks like a question, by the form of the words alone."""

import random
import re

CUT_WORDS = 12
MAX_SUBJECT_WORDS = 8

_YEAR = re.compile(r"1\d\d\d|20\d\d")
_MONTH = re.compile(
    r"\b(?:january|february|march \d|april|june|july|august|september|october|november|december)\b"
    r"|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
)
_NUMBER = re.compile(
    r"\d[\d.,]*$|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty)\b"
    r"|(?:\d[\d.,]*|hundred|thousand|million|billion)s? "
)
_LOOSE = re.compile(r" (?=[,;:.!?)])|(?<=\() ")  # where the blank stood next to a mark
_PUNCTUATION = re.compile(r"[,;:\"“”()]")
_ARTICLES = frozenset({"the", "a", "an"})
_PLACE_BEFORE = frozenset({"in", "at", "near", "into", "throughout", "across"})
_AUXILIARY = frozenset({"is", "are", "was", "were", "has", "had", "have", "can", "could", "will", "would"})
# Words that leave a phrase unfinished.
_OPEN = frozenset(
    {"the", "a", "an", "and", "or", "of", "to", "by", "with", "for", "in", "on", "from", "that", "as"}
)
_DEEDS = frozenset({"said", "says", "asked", "told", "wrote", "was", "had", "went", "came", "saw", "took"})


def crude_question(before: str, span: str, after: str, rng: random.Random) -> str:
    """A question from a sentence in three parts, of which `span` is to be asked for.

    A question word takes the place of the span. Half of the time only the words around it stay. An auxiliary
    before the blank mostly goes to the front with it: "The bridge was built by [Anna]": "who was the bridge
    built by?"
    """
    ahead, behind = before.split(), after.rstrip(".!?;: \"'”’").split()
    asking, ahead = _question_word(ahead, span, behind)
    if rng.random() < 0.5 and len(ahead) + len(behind) > CUT_WORDS:
        ahead, behind = _near(ahead, behind, rng)
    turn = _auxiliary(ahead) if rng.random() < 0.7 else None
    if turn is not None:
        words = [asking, ahead[turn], *ahead[:turn], *ahead[turn + 1 :], *behind]
    else:
        words = [*ahead, asking, *behind]
    return _LOOSE.sub("", " ".join(words)).strip(" ,;:-") + "?"


def _auxiliary(ahead: list[str]) -> int | None:
    """Index of the auxiliary of a plain clause: its subject begins it, and it stands near the blank."""
    found = [index for index in range(1, len(ahead)) if ahead[index].casefold() in _AUXILIARY]
    if not found or found[-1] > MAX_SUBJECT_WORDS or len(ahead) - found[-1] > MAX_SUBJECT_WORDS:
        return None
    return None if _PUNCTUATION.search(" ".join(ahead)) else found[-1]


def _near(ahead: list[str], behind: list[str], rng: random.Random) -> tuple[list[str], list[str]]:
    """About CUT_WORDS words around the blank, cut at a comma where one leaves enough."""
    left = min(len(ahead), rng.randint(3, CUT_WORDS - 3))
    ahead, behind = ahead[len(ahead) - left :], behind[: CUT_WORDS - left]
    commas = [index for index, word in enumerate(ahead) if word[-1] in ",;:"]
    if commas and len(ahead) - commas[-1] > 3:
        ahead = ahead[commas[-1] + 1 :]
    comma = next((i for i, word in enumerate(behind) if word[-1] in ",;:" and i + len(ahead) > 4), None)
    behind = behind[: len(behind) if comma is None else comma + 1]
    while behind and behind[-1].casefold() in _OPEN:
        behind.pop()
    return ahead, behind


def _question_word(ahead: list[str], span: str, behind: list[str]) -> tuple[str, list[str]]:
    """The question word that the form of the span suggests, and the words ahead of it, less one whose place
    it takes.
    """
    last, following = (ahead[-1] if ahead else "").casefold(), (behind[0] if behind else "").casefold()
    key = span.casefold()
    if _YEAR.fullmatch(key) or _MONTH.search(key):
        return "when", ahead[:-1] if last in {"in", "on", "at", "during"} else ahead
    if last in _ARTICLES:
        return "what", ahead[:-1]
    if _NUMBER.match(key):
        return "how many" if following[:1].isalpha() or " " in key else "what", ahead
    return _name_word(ahead, last, span.split(), following)


def _name_word(ahead: list[str], last: str, words: list[str], following: str) -> tuple[str, list[str]]:
    """After a preposition of place "where", where a person seems to act "who", otherwise "what"."""
    named = len(words) <= 3 and all(word[0].isupper() and not word.isupper() for word in words)
    if named and ahead and last in _PLACE_BEFORE:
        return "where", ahead[:-1] if last in {"in", "at", "near"} else ahead
    acts = following in _DEEDS or (following.endswith("ed") and len(words) <= 2)
    return "who" if named and (acts or (last == "by" and len(words) > 1)) else "what", ahead
