"""Sentences as pieces of a record: runs, windows around them, the one that says what an answer says."""

import random
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from generation.sentences import Span, split_sentences
from training.decoder_data import QaRecord

CONTEXT_CHARACTERS = 1400
ANSWER_WORDS = 60
MAX_SENTENCES = 3
_WORD = re.compile(r"\w+")
# Pattern and replacement, in order: brackets, quotes, what leans to the left, what leans to the right.
_TREEBANK = (
    (r"-lrb-|-lsb-", "("),
    (r"-rrb-|-rsb-", ")"),
    (r"``\s?|\s?''", '"'),
    (r" (n't|'(?:s|re|ve|ll|d|m)\b)", r"\1"),
    (r" ([,.;:?!%)\]]|'(?= |$))", r"\1"),
    (r"([($£€\[#]) ", r"\1"),
    (r"(\d) ?([–/]) ?(?=\d)", r"\1\2"),
)
_STOP = (
    "a an the of to in on at for from by with and or but as is are was were be been being it its he she they "
    "them his her their him this that these those had has have did do does would could will can not so no if "
    "who whom which what when where why how than then there into out up i you we my your our"
)
_STOP_WORDS = frozenset(_STOP.split())
_ENDING = re.compile(r"(?:ing|ed|es|s|ly)$")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, as serving cuts them."""
    return [text[start:end] for start, end in split_sentences(text)]


def runs_of(indices: Iterable[int]) -> list[Span]:
    """Indices as runs `[first, end)` of consecutive ones."""
    runs: list[Span] = []
    for index in sorted(set(indices)):
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def widened(sentences: Sequence[str], run: Span, rng: random.Random) -> Span:
    """Widen a run of sentences, to either side by chance, up to CONTEXT_CHARACTERS."""
    first, end = run
    room = CONTEXT_CHARACTERS - sum(len(text) + 1 for text in sentences[first:end])
    while first > 0 or end < len(sentences):
        before = first > 0 and (
            end == len(sentences) or rng.random() < first / (first + len(sentences) - end)
        )
        room -= len(sentences[first - 1 if before else end]) + 1
        if room < 0:
            break
        first, end = (first - 1, end) if before else (first, end + 1)
    return first, end


def joined(
    question: str, sentences: Sequence[str], runs: Sequence[Span], window: Span, group: str
) -> QaRecord:
    """Join the sentences of the window; the runs that lie in it become the answers."""
    first, end = window
    starts = [0]
    for text in sentences[first:end]:
        starts.append(starts[-1] + len(text) + 1)
    inside = [(low - first, high - first) for low, high in runs if first <= low and high <= end]
    answers = tuple((starts[low], starts[high] - 1) for low, high in inside)
    return QaRecord(question, " ".join(sentences[first:end]), group, answers, "sentences")


def normal_form(text: str) -> str:
    """Letters and digits alone in small letters: what two copies of a text share."""
    return "".join(_WORD.findall(text.casefold()))


def is_whole(spans: Sequence[Span], answer: Span, context: str) -> bool:
    """Whether an answer is one to MAX_SENTENCES of the sentences, and neither a word nor a page."""
    inside = [span for span in spans if answer[0] <= span[0] and span[1] <= answer[1]]
    words = len(context[slice(*answer)].split())
    fits = 1 <= len(inside) <= MAX_SENTENCES and 3 <= words <= 2 * ANSWER_WORDS
    return fits and (inside[0][0], inside[-1][1]) == answer


def sentences_around(spans: Sequence[Span], answer: Span) -> Span:
    """The sentences that a span touches, as one span."""
    touched = [span for span in spans if span[0] < answer[1] and span[1] > answer[0]]
    return (touched[0][0], touched[-1][1]) if touched else answer


@lru_cache(maxsize=20_000)
def content_stems(text: str) -> frozenset[str]:
    """Content words without their commonest endings; enough to compare an answer with its sentence."""
    words = set(_WORD.findall(text.casefold())) - _STOP_WORDS
    return frozenset(_ENDING.sub("", word) if len(word) > 4 else word for word in words)


def best_match(context: str, spans: Sequence[Span], question: str, answer: str) -> Span | None:
    """The sentence, or two, with the best F1 against an answer among those that hold 60 % of its words."""
    wanted, new = content_stems(answer), content_stems(answer) - content_stems(question)
    best, choice = 0.0, None
    for count in (1, 2):
        for run in zip(spans, spans[count - 1 :], strict=False):
            span = (run[0][0], run[1][1])
            words = content_stems(context[slice(*span)])
            common = len(wanted & words)
            f1 = 2 * common / (len(wanted) + len(words)) if common else 0.0
            enough = common >= max(2, 0.6 * len(wanted)) and 2 * len(new & words) >= len(new) > 0
            if enough and f1 > best:
                best, choice = f1, span
    return choice


def detokenised(text: str) -> str:
    """Penn Treebank tokens as running text; the letters stay lower-case."""
    for pattern, replacement in _TREEBANK:
        text = re.sub(pattern, replacement, text)
    return text.strip()
