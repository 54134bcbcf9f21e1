"""Unanswerable questions made from answerable ones, by the kinds that SQuAD 2.0 has (Rajpurkar, Jia and
Liang, ACL 2018, Table 1): a negation, an antonym, another name, noun or number, an impossible condition.

The context stays as it is and the old answer becomes a plausible one, so that a decoder learns to compare
every part of a question with the passage. How often each kind is tried follows squad/train, where an
unanswerable question that shares most words with an answerable one of the same passage is negated in a
fifth, has an antonym or another nation in a quarter, another name in a fifth, another noun in a fifth and
another number in a tenth of all cases.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from training.alteration_kinds import KINDS, Alteration, Case
from training.alteration_passages import WORD, Passage, read_passage, stems
from training.decoder_data import QaRecord

_YES_OR_NO = re.compile(r"(?:is|are|was|were|do|does|did|can|could|has|have|had|will)\b", re.I)
_OTHERS = 12  # passages of the group that are looked into for names and nouns


def altered_questions(records: Sequence[QaRecord], seed: int, share: float) -> list[QaRecord]:
    """Unanswerable variants of a share of the answerable records, at most one of each, in their order.

    The context, group and style stay, `plausible` is one of the old answers. Questions that no kind fits,
    and variants that another record asks, are left out. The same seed gives the same variants.
    """
    rng = random.Random(seed)
    altered = _altered(records, rng, share)
    return [record for record, _ in altered]


def _altered(records: Sequence[QaRecord], rng: random.Random, share: float) -> list[tuple[QaRecord, str]]:
    """The variants with the name of their kind."""
    passages = {context: read_passage(context) for context in dict.fromkeys(r.context for r in records)}
    groups: dict[str, dict[str, Passage]] = defaultdict(dict)
    for record in records:
        groups[record.group][record.context] = passages[record.context]
    asked = {_normal(record.question) for record in records}
    found = []
    for record in records:
        if not record.answers or record.style == "question" or rng.random() >= share:
            continue
        if _YES_OR_NO.match(record.question):
            continue  # "Is it A or B?" has an answer whatever is changed
        others = [passage for text, passage in groups[record.group].items() if text != record.context]
        case = _case(record, passages[record.context], others, rng)
        made = next((pair for pair in _attempts(case) if _normal(pair[0].question) not in asked), None)
        if made:
            asked.add(_normal(made[0].question))
            found.append((_unanswerable(record, made[0].question, rng), made[1]))
    return found


def _unanswerable(record: QaRecord, question: str, rng: random.Random) -> QaRecord:
    return replace(record, question=question, answers=(), plausible=rng.choice(record.answers))


def _case(record: QaRecord, passage: Passage, others: Sequence[Passage], rng: random.Random) -> Case:
    touched = [
        span
        for span in passage.spans
        if any(span[0] < end and span[1] > start for start, end in record.answers)
    ]
    answer_text = " ".join(record.context[start:end] for start, end in touched).lower()
    return Case(record, passage, rng.sample(others, min(len(others), _OTHERS)), answer_text, rng)


def _attempts(case: Case) -> Iterator[tuple[Alteration, str]]:
    """Variants of the kinds in a random order by their weights, those that may be answerable left out."""
    names = sorted(KINDS, key=lambda name: case.rng.random() ** (1 / KINDS[name][1]), reverse=True)
    for name in names:
        for alteration in KINDS[name][0](case):
            if _is_safe(case, alteration):
                yield alteration, name


def _is_safe(case: Case, alteration: Alteration) -> bool:
    """Whether what was inserted is missing in the answers' sentences, and no other sentence that was looked
    into has it together with much of the rest of the question.
    """
    inserted = alteration.inserted.lower()
    if (
        inserted
        and inserted in case.answer_text
        and re.search(rf"(?<!\w){re.escape(inserted)}(?!\w)", case.answer_text)
    ):
        return False
    new = stems(alteration.inserted)
    rest = stems(alteration.question) - new
    told = (sentence for passage in (case.passage, *case.others) for sentence in passage.stems)
    return not new or not any(
        new <= sentence and 5 * len(rest & sentence) > 2 * len(rest) for sentence in told
    )


def _normal(question: str) -> str:
    return " ".join(WORD.findall(question.lower()))
