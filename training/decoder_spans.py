"""Questions without an annotator: a span that recurs in a text is asked for in one of its sentences.

Recurring span selection (Ram et al., "Few-Shot Question Answering by Pretraining Span Selection", ACL 2021):
the sentence with one occurrence leaves the text and becomes the question, with a blank in place of the span;
the other occurrences are the answers.
"""

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.decoder_crude import crude_question
from training.decoder_data import QaRecord
from training.decoder_recurrence import WORD, Passage, Recurrence
from training.decoder_texts import raw_texts, sourced_texts

__all__ = ["BLANK", "raw_texts", "recurring_span_records"]

BLANK = "[MASK]"  # a token of its own in BERT's vocabulary (103)
RARE_SHARE = 0.005
UNANSWERABLE_SHARE = 0.15
CRUDE_SHARE = 1 / 3
MIN_CONTEXT_CHARACTERS = 120
SENTENCE_CHARACTERS = (35, 230)
SAME_QUESTION = 2  # manuals and leaflets repeat whole sentences with another name in the blank


@dataclass(frozen=True, slots=True)
class Cloze:
    """A sentence taken out of a text: before + span + after. answers: `[start, end)` in what is left."""

    before: str
    span: str
    after: str
    context: str
    answers: tuple[tuple[int, int], ...]


def recurring_span_records(
    texts: Iterable[tuple[str, str]],
    seed: int,
    per_text: int = 2,
    *,
    rare_share: float = RARE_SHARE,
    unanswerable: float = UNANSWERABLE_SHARE,
    crude: float = CRUDE_SHARE,
) -> list[QaRecord]:
    """At most `per_text` answerable records for each (group, text), in order, then unanswerable ones.

    Two thirds of the questions are sentences with `[MASK]` in place of the span; the share `crude` asks with
    "who", "what", "when", "where" or "how many". The share `unanswerable` of all records has a question of
    another text of the group whose answer does not stand in the context. rare_share: a single common noun is
    asked for only if at most this share of the texts holds it.
    """
    rng = random.Random(seed)
    rows = list(texts)
    common = _common_words(rows, rare_share)
    asked: Counter[str] = Counter()
    records: list[QaRecord] = []
    for group, text in rows:
        fresh = (cloze for cloze in clozes(text, common, rng) if _is_fresh(cloze, asked))
        for _, cloze in zip(range(per_text), fresh, strict=False):
            records.append(QaRecord(_question(cloze, crude, rng), cloze.context, group, cloze.answers))
    return records + _unanswerables(records, unanswerable, rng)


def _common_words(rows: Sequence[tuple[str, str]], rare_share: float) -> frozenset[str]:
    counts: Counter[str] = Counter()
    for _, text in rows:
        counts.update(set(WORD.findall(text.casefold())))
    limit = max(2.0, rare_share * len(rows))
    return frozenset(word for word, count in counts.items() if count > limit)


def _is_fresh(cloze: Cloze, asked: Counter[str]) -> bool:
    """Whether the sentence was not yet asked `SAME_QUESTION` times, whatever the span; counts it."""
    key = " ".join(WORD.findall((cloze.before + cloze.after).casefold()))
    asked[key] += 1
    return asked[key] <= SAME_QUESTION


def _question(cloze: Cloze, crude: float, rng: random.Random) -> str:
    if rng.random() < crude:
        return crude_question(cloze.before, cloze.span, cloze.after, rng)
    return cloze.before + BLANK + cloze.after


def clozes(text: str, common: frozenset[str], rng: random.Random) -> Iterator[Cloze]:
    """The questions that a text allows, the best first, no sentence and no span twice."""
    passage = Passage(text)
    options = [
        (passage.promise(start, found) + rng.random(), number, start, found)
        for number, found in enumerate(passage.recurrences(common))
        for start in found.starts
        if not passage.breaks_name(start, found.length)
    ]
    sentences: set[int] = set()
    spans: set[int] = set()
    for promise, number, start, found in sorted(options, key=lambda option: -option[0]):
        sentence = passage.words[start].sentence
        if promise < 1 or sentence in sentences or number in spans:
            continue
        cloze = cut_out(passage, start, found)
        if cloze is not None:
            sentences.add(sentence)
            spans.add(number)
            yield cloze


def cut_out(passage: Passage, asked: int, found: Recurrence) -> Cloze | None:
    """Take the sentence of an occurrence out of the text; None where it holds the span twice, is too short or
    too long, or where too little is left.
    """
    text, number = passage.text, passage.words[asked].sentence
    low, high = passage.sentences[number]
    twice = sum(passage.words[start].sentence == number for start in found.starts) > 1
    if twice or not SENTENCE_CHARACTERS[0] <= high - low <= SENTENCE_CHARACTERS[1]:
        return None
    head, tail = text[:low].rstrip(), text[high:].lstrip()
    gap = text[len(head) : low] + text[high : len(text) - len(tail)]
    context = head + ("\n" if "\n" in gap else " ") * bool(head and tail) + tail
    if len(context) < MIN_CONTEXT_CHARACTERS:
        return None
    shift = len(context) - len(text)
    others = [passage.span(start, found.length) for start in found.starts if start != asked]
    answers = tuple((a, b) if a < low else (a + shift, b + shift) for a, b in others)
    start, end = passage.span(asked, found.length)
    before = text[low:start].lstrip("-•*>\"“'‘ \n")
    return Cloze(before, text[start:end], text[end:high], context, answers)


def _unanswerables(records: Sequence[QaRecord], share: float, rng: random.Random) -> list[QaRecord]:
    """Questions put to another text of the group; fewer than `share` of all where few groups have several
    texts.
    """
    groups: dict[str, list[QaRecord]] = defaultdict(list)
    for record in records:
        groups[record.group].append(record)
    wanted = round(len(records) * share / (1 - share))
    hosts = [record for record in records if len(groups[record.group]) > 1]
    added: list[QaRecord] = []
    for host in rng.sample(hosts, len(hosts)):
        if len(added) == wanted:
            break
        guest = rng.choice(groups[host.group])
        answer = guest.context[slice(*guest.answers[0])].casefold()
        if guest.context != host.context and answer not in host.context.casefold():
            added.append(QaRecord(guest.question, host.context, host.group, ()))
    return added


def main() -> None:
    """Print how many records come from which set, and some of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--examples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    rows = list(sourced_texts(given.data))
    records = recurring_span_records([(group, text) for _, group, text in rows], given.seed)
    source_of = {group: source for source, group, _ in rows}
    for source, texts in Counter(source for source, _, _ in rows).items():
        found = [record for record in records if source_of[record.group] == source]
        words = sum(len(WORD.findall(record.question + " " + record.context)) for record in found)
        refused = sum(not record.answers for record in found)
        print(f"{source}: {texts} texts, {len(found)} records, {refused} of them unanswerable,", end=" ")
        print(f"{words / max(1, len(found)):.0f} words each")
    for record in random.Random(given.seed).sample(records, given.examples):
        spans = [record.context[start:end] for start, end in record.answers]
        print(f"\n[{record.group}] {record.question}\n  {spans}\n  {record.context}")


if __name__ == "__main__":
    main()
