"""The kinds of change that make a question unanswerable: each yields variants of one question, best first."""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from generation.sentences import Span
from training.alteration_passages import NOUN, WORD, Passage, cues, is_noun, names, stems
from training.antonyms import opposites
from training.decoder_data import QaRecord

_NUMBER = re.compile(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th|s)?(?![\w-])")
_AUXILIARY = re.compile(
    r"\b(?:is|are|was|were|did|does|do|can|could|would|should|has|have|had|will|must)\b", re.I
)
_NOT = re.compile(r"\b(?:(?P<word>not|never) |(?P<stem>\w+)n['’]t\b)", re.I)
_ARTICLE = re.compile(r"\b([Aa])n? \Z")
_PEOPLE = re.compile(r"\w(?:ian|an|ese|ish|ench)$")  # Kenyan, Chinese
_SAME_NAME = 0.6  # from this ratio of common letters on, two names may be one: Luther and Ludher
_ORDINALS = re.compile(r"(?:first|second|third|(?:four|fif|six|seven|eigh|nin|ten)th|last)$")
_NO_PARTICIPLE = re.compile(r"(?:seven|eleven|often|men|women|children|golden|queen|red)$")


@dataclass(frozen=True, slots=True)
class Case:
    """A record to alter: its passage, some others of its group, and the sentences of its answers in small
    letters.
    """

    record: QaRecord
    passage: Passage
    others: Sequence[Passage]
    answer_text: str
    rng: random.Random


@dataclass(frozen=True, slots=True)
class Alteration:
    """A changed question and what stands in it now that did not before (nothing for a negation)."""

    question: str
    inserted: str


Kind = Callable[[Case], Iterator[Alteration]]


def _swap_name(case: Case) -> Iterator[Alteration]:
    """A name in the question becomes another of the group: of other passages, or of other sentences."""
    question = case.record.question
    cased = question != question.lower()
    far: dict[str, set[str]] = {}
    for passage in case.others:
        far.update(passage.names)
    for old in _asked_names(case, cased):
        before = case.passage.names.get(old, set()) | cues(question, old)
        for pool in (far, case.passage.names):
            for new in _alike(old, before, pool, case):
                yield _replaced(question, old, new if cased else new.lower())


def _asked_names(case: Case, cased: bool) -> list[str]:
    """The names of the passage that stand in the question, in any case of letters, and its own; no part of
    another.
    """
    question = case.record.question
    known = {name.lower(): name for name in (*case.passage.names, *(names(question) if cased else ()))}
    found = [name for name in known if name in question.lower()]
    found = [name for name in found if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", question.lower())]
    found = [name for name in found if not any(name != other and name in other for other in found)]
    case.rng.shuffle(found)
    return [known[name] for name in found]


def _alike(old: str, before: set[str], pool: Mapping[str, set[str]], case: Case) -> list[str]:
    """Up to three names of about the same shape, that share no word with the old one and the question; those
    that follow the same words first.
    """
    whole = [stems(name) for name in (*pool, *case.passage.names) if stems(name) & stems(old)]
    taken = stems(case.record.question).union(stems(old), *whole)  # Nikola is a part of Nikola Tesla
    fits = [
        name
        for name in pool
        if abs(len(name.split()) - len(old.split())) <= 1
        and _shape(name)[:3] == _shape(old)[:3]
        and ("the" in before) == ("the" in pool[name])
        and stems(name)
        and not stems(name) & taken
    ]
    case.rng.shuffle(fits)
    fits.sort(key=lambda name: (-len(before & pool[name]), _shape(name) != _shape(old)))
    return [name for name in fits[:6] if _likeness(name, old) < _SAME_NAME][:3]


def _likeness(name: str, other: str) -> float:
    return SequenceMatcher(None, name.lower(), other.lower()).ratio()


def _shape(name: str) -> tuple[bool, bool, bool, int, str]:
    """A rough class: EU and UK, Kenyans and Mongols, Warsaw University and Brown University go together."""
    return name.isupper(), name.endswith("s"), bool(_PEOPLE.search(name)), len(name.split()), name[-3:]


def _swap_noun(case: Case) -> Iterator[Alteration]:
    """A common noun becomes another of the passage, or of the group, in the same number."""
    question = case.record.question
    found = [match for match in NOUN.finditer(question.lower()) if is_noun(match["noun"])]
    case.rng.shuffle(found)
    taken = stems(question)
    pool = case.passage.nouns + [noun for passage in case.others[:4] for noun in passage.nouns]
    for match in found:
        old = match["noun"]
        if question[match.start("noun") : match.end("noun")] != old:
            continue
        fits = [noun for noun in pool if noun.endswith("s") == old.endswith("s") and not stems(noun) & taken]
        for new in case.rng.sample(fits, min(3, len(fits))):
            start, end = match.span("noun")
            yield _placed(question, start, end, new)


def _swap_opposite(case: Case) -> Iterator[Alteration]:
    """An antonym, or another word of the same family."""
    question = case.record.question
    words = list(WORD.finditer(question))
    names = _long_names(question, case.passage)
    for place in case.rng.sample(range(len(words)), len(words)):
        before = words[place - 1][0] if place else ""
        after = words[place + 1][0] if place + 1 < len(words) else ""
        word = words[place][0]
        if _is_fixed(before, word, after, place) or any(
            start <= words[place].start() < end for start, end in names
        ):
            continue
        options = list(opposites(word))
        case.rng.shuffle(options)
        for new in options:
            yield _placed(question, *words[place].span(), new)


def _is_fixed(before: str, word: str, after: str, place: int) -> bool:
    """Whether a word belongs to a set phrase ("how long", "no longer", "most of") or to a name."""
    if before.lower() in ("how", "no", "as", "so", "his", "her", "or") or after in ("and", "or", "as"):
        return True
    if after == "of" and word.lower() in ("most", "least", "all", "none"):
        return True
    if _ORDINALS.match(word) and before.lower() not in ("the", "his", "her", "its", "their", "whose", ""):
        return True  # "first sent"
    return word[0].isupper() and (after[:1].isupper() or (before[:1].isupper() and place > 1))


def _long_names(question: str, passage: Passage) -> list[Span]:
    """Where names of several words stand, whatever the case of their letters."""
    lowered = question.lower()
    names = (name.lower() for name in passage.names if " " in name)
    return [(start, start + len(name)) for name in names if (start := lowered.find(name)) >= 0]


def _change_number(case: Case) -> Iterator[Alteration]:
    """Another number or year, one that the passage does not have."""
    question = case.record.question
    found = list(_NUMBER.finditer(question))
    case.rng.shuffle(found)
    for match in found:
        new = _other_number(match[0], case.rng)
        if new != match[0] and new not in case.record.context:
            yield Alteration(question[: match.start()] + new + question[match.end() :], new)


def _other_number(text: str, rng: random.Random) -> str:
    digits = re.sub(r"\D.*$", "", text.replace(",", ""))
    suffix = text[len(text.rstrip("abcdefghijklmnopqrstuvwxyz")) :]
    number = int(digits)
    if suffix == "s":
        return f"{number + 10 * rng.choice((-3, -2, -1, 1, 2, 3))}s"
    if suffix:
        number = max(1, number + rng.choice((-3, -2, -1, 1, 2, 3)))
        ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
        return f"{number}{ending}"
    if "," in text:
        return f"{number * rng.choice((2, 3, 5)) // rng.choice((1, 4)):,}"
    if "." in text:
        return f"{float(text.replace(',', '')) * rng.choice((0.5, 2.0, 3.0)):.1f}"
    step = rng.randint(1, 30) if number > 1000 else rng.randint(1, max(2, number // 2))
    return str(number - step if number > step and rng.random() < 0.5 else number + step)


def _negate(case: Case) -> Iterator[Alteration]:
    """Remove a negation where there is one, else put one behind or into an auxiliary."""
    question = case.record.question
    negation = _NOT.search(question)
    if negation:
        stem = {"ca": "can", "wo": "will"}.get(negation["stem"] or "", negation["stem"] or "")
        yield Alteration(question[: negation.start()] + stem + question[negation.end() :], "")
        return
    found = [match for match in _AUXILIARY.finditer(question) if match.start() > 0]
    for match in found[:1]:
        word, rest = match[0].lower(), question[match.end() :]
        if _takes_not(rest):
            negated = f"{match[0]} {case.rng.choice(('not', 'not', 'never'))}"
        else:
            negated = {"can": "can't", "will": "won't"}.get(word, f"{match[0]}n't")
        yield Alteration(question[: match.start()] + negated + rest, "")


def _takes_not(rest: str) -> bool:
    """Whether "not" can follow the auxiliary: a participle or adjective comes, and no subject."""
    following = WORD.match(rest.strip())
    if following is None:
        return False
    word = following[0]
    if _NO_PARTICIPLE.match(word):
        return False
    return word == word.lower() and bool(re.search(r"(?:ed|en|wn|ade|uilt|ound|eld|ept|ost)$", word))


def _exclude_answer(case: Case) -> Iterator[Alteration]:
    """Ask for something else than the answer: an impossible condition where there is one answer only."""
    record = case.record
    texts = {record.context[start:end] for start, end in record.answers}
    answer = min(texts, key=len)
    asks = re.match(r"(?:who|what|which|where|when)\b", record.question, re.I)
    if asks and record.style == "span" and len(answer.split()) <= 4 and "," not in answer:
        lead = case.rng.choice(("Besides", "Other than", "Apart from"))
        question = record.question[0].lower() + record.question[1:]
        yield Alteration(f"{lead} {answer}, {question}", "")


def _placed(question: str, start: int, end: int, new: str) -> Alteration:
    """Put a word at `[start, end)`, with "a" or "an" as it needs."""
    article = _ARTICLE.search(question[:start])
    head = question[:start]
    if article:
        head = f"{head[: article.start()]}{article[1]}{'n' if new[0].lower() in 'aeiou' else ''} "
    return Alteration(head + new + question[end:], new)


def _replaced(question: str, old: str, new: str) -> Alteration:
    """Put a name in the place of another, whatever the case of its letters."""
    changed = re.sub(rf"\b{re.escape(old)}\b", lambda _: new, question, flags=re.I)
    return Alteration(changed, new)


# Each kind with its weight in the order of trial; high for those that seldom fit.
KINDS: dict[str, tuple[Kind, float]] = {
    "name": (_swap_name, 0.28),
    "noun": (_swap_noun, 0.22),
    "opposite": (_swap_opposite, 0.30),
    "negation": (_negate, 0.09),
    "number": (_change_number, 0.80),
    "exclusion": (_exclude_answer, 0.01),
}
