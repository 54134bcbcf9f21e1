"""Questions whose answer is one to three whole sentences of a passage: what the "sentences" style learns.

Sentence boundaries are those of `generation.sentences.split_sentences` in every source, so that training
and serving agree on what a sentence is; an annotated sentence that they cut elsewhere is left out. All sets
have an open licence (see the data folder's README). Development and test parts of squad, nq_gold and
fairytaleqa are never learnt from: squad/dev and nq_gold/dev are opened only to leave their sentences out.
"""

import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from generation.question_style import answer_style
from generation.sentences import Span, split_sentences
from training.decoder_data import QaRecord, load_records
from training.decoder_recipe import HELD_OUT_GROUPS
from training.medquad_texts import medical_answer, medical_question, speaks_of
from training.sentence_texts import (
    ANSWER_WORDS,
    CONTEXT_CHARACTERS,
    MAX_SENTENCES,
    best_match,
    content_stems,
    detokenised,
    is_whole,
    joined,
    normal_form,
    runs_of,
    sentences_around,
    sentences_of,
    widened,
)

LITERAL_FILES = ("squad/train.jsonl.gz", "nq_gold/train.jsonl.gz", "fairytaleqa/train.jsonl.gz")
_KEPT_OUT = ("squad/dev.jsonl.gz", "nq_gold/dev.jsonl.gz")
_MAX_SAME_OPENING = 40  # many pages share their text, such as how a recessive illness is inherited
_SEED = 20180611
_SHARE_BEHIND = 0.75  # medical answers that stand behind another piece of text


def sentence_records(data: Path) -> list[QaRecord]:
    """All sources together; every record has the style "sentences"."""
    return [record for source in SOURCES.values() for record in source(data)]


def selqa_records(data: Path) -> list[QaRecord]:
    """SelQA (Jurczyk et al. 2016): the sentences of a Wikipedia section that answer, marked by people."""
    rng, found = random.Random(_SEED), []
    for row in (*_rows(data / "selqa/dev.jsonl.gz"), *_rows(data / "selqa/test.jsonl.gz")):
        runs = [run for run in runs_of(row["answers"]) if run[1] - run[0] <= MAX_SENTENCES]
        sentences = [" ".join(text.split()) for text in row["candidates"]]
        if runs and row["article"].replace(" ", "_") not in HELD_OUT_GROUPS:
            window = widened(sentences, rng.choice(runs), rng)
            found.append(joined(row["question"], sentences, runs, window, row["article"]))
    return _clean(found, data)


def medquad_records(data: Path) -> list[QaRecord]:
    """MedQuAD (Ben Abacha and Demner-Fushman 2019): the beginning of each answer, behind a piece of another
    answer about the same illness in most records, so that the place of a sentence says nothing.
    """
    rng, openings = random.Random(_SEED + 1), Counter[str]()
    by_focus: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for row in _rows(data / "medquad/medquad.jsonl.gz"):
        question, sentences = medical_question(row, rng), medical_answer(row["answer"])
        opening = " ".join(sentences[0].split()[:6]) if sentences else ""
        openings[opening] += 1
        if question and sentences and openings[opening] <= _MAX_SAME_OPENING:
            by_focus[row["focus"]].setdefault(question, sentences)
    return _clean([record for focus in by_focus for record in _medical(focus, by_focus, rng)], data)


def squad_pair_records(data: Path) -> list[QaRecord]:
    """Question and sentence pairs of SQuAD 1.1 (Du et al. 2017), each sentence among its neighbours in the
    file, which come from the same article.
    """
    rng = random.Random(_SEED + 2)
    pairs = [
        (detokenised(row["question"]), detokenised(row["sentence"]))
        for row in _rows(data / "squad_question_sentence/pairs.jsonl.gz")
    ]
    places = {text: place for place, text in enumerate(dict.fromkeys(text for _, text in pairs))}
    texts = [text[:1].upper() + text[1:] for text in places]
    found = []
    for question, text in dict.fromkeys(pairs):
        if not content_stems(question) & content_stems(text):
            continue  # wrongly paired, or about "it"
        place, wanted = places[text], rng.randint(2, 5)
        low = max(0, min(place - rng.randint(0, wanted), len(texts) - wanted - 1))
        near = texts[low : low + wanted + 1]
        run = (place - low, place - low + 1)
        # About an article: the pairs do not say where one ends.
        group = f"squad_question_sentence/{place // 60}"
        found.append(joined(question, near, [run], widened(near, run, rng), group))
    return _clean(found, data)


def scifact_records(data: Path) -> list[QaRecord]:
    """SciFact (Wadden et al. 2020): a claim asks, the sentences that support or contradict it answer. Only
    the claims of the training judgements, so that retrieval can still be measured on the test ones.
    """
    papers = {row["_id"]: row for row in _rows(data / "scifact/corpus.jsonl.gz")}
    judged = (data / "scifact/qrels/train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    training = {line.split("\t")[0] for line in judged}
    rng, found = random.Random(_SEED + 3), []
    for row in _rows(data / "scifact/evidence.jsonl.gz"):
        for evidence in row["evidence"] if row["_id"] in training else ():
            paper = papers[evidence["doc"]]
            sentences = sentences_of(paper["text"])
            runs = [run for run in runs_of(evidence["sentences"]) if _about(row["claim"], sentences, run)]
            if runs:
                window = widened(sentences, rng.choice(runs), rng)
                found.append(joined(row["claim"], sentences, runs, window, paper["title"]))
    return _clean(found, data)


def fairytale_records(data: Path) -> list[QaRecord]:
    """FairytaleQA's free-text answers to how and why: the sentences that hold most of the answer's words."""
    found = []
    for row in _rows(data / "fairytaleqa/train.jsonl.gz"):
        free = [answer["text"] for answer in row["answers"] if answer["answer_start"] < 0]
        if not free or answer_style(row["question"]) != "sentences":
            continue
        spans = split_sentences(row["context"])
        answers = {best_match(row["context"], spans, row["question"], text) for text in free} - {None}
        if answers:
            chosen = tuple(sorted(span for span in answers if span))
            found.append(QaRecord(row["question"], row["context"], row["title"], chosen, "sentences"))
    return _clean(found, data)


def literal_records(data: Path, share: float = 0.7) -> list[QaRecord]:
    """How and why questions of the span sets, with the sentence that holds the span, and the unanswerable
    ones, which teach the style to refuse. share: how many of them; the others stay with spans only.
    """
    rng, found = random.Random(_SEED + 4), []
    for record in (record for name in LITERAL_FILES for record in load_records(data / name)):
        if answer_style(record.question) != "sentences" or record.group in HELD_OUT_GROUPS:
            continue
        if rng.random() < share:
            spans = split_sentences(record.context)
            answers = {sentences_around(spans, answer) for answer in record.answers}
            found.append(
                QaRecord(record.question, record.context, record.group, tuple(sorted(answers)), "sentences")
            )
    return _clean(found, data)


def _medical(focus: str, by_focus: dict[str, dict[str, list[str]]], rng: random.Random) -> Iterator[QaRecord]:
    """The records about one illness. What goes before an answer is what another one says behind its own
    beginning, of the same illness where it can be had.
    """
    others = list(by_focus)
    for question, sentences in by_focus[focus].items():
        own = [texts for asked, texts in by_focus[focus].items() if asked != question]
        pool = [texts[MAX_SENTENCES:] for texts in own if len(texts) > MAX_SENTENCES]
        if not pool:
            pool = [texts[-4:] for texts in by_focus[rng.choice(others)].values() if texts != sentences]
        length = _fitting(sentences)
        before = rng.choice(pool)[: rng.randint(1, 4)] if pool and rng.random() < _SHARE_BEHIND else []
        texts = [*before, *sentences]
        run = (len(before), len(before) + length)
        if length and speaks_of(" ".join(sentences[:length]), focus):
            yield joined(question, texts, [run], _cut(texts, run), focus)


def _fitting(sentences: Sequence[str]) -> int:
    """How many of the first sentences make an answer of at most ANSWER_WORDS words."""
    words = 0
    for count, text in enumerate(sentences[:MAX_SENTENCES]):
        words += len(text.split())
        if words > ANSWER_WORDS:
            return count
    return min(len(sentences), MAX_SENTENCES)


def _cut(sentences: Sequence[str], run: Span) -> Span:
    """The window from the first sentence to the last that CONTEXT_CHARACTERS and the run allow."""
    room = CONTEXT_CHARACTERS
    for end, text in enumerate(sentences):
        room -= len(text) + 1
        if room < 0 and end >= run[1]:
            return 0, end
    return 0, len(sentences)


SOURCES: dict[str, Callable[[Path], list[QaRecord]]] = {
    "selqa": selqa_records,
    "medquad": medquad_records,
    "squad_pairs": squad_pair_records,
    "scifact": scifact_records,
    "fairytale": fairytale_records,
    "literal": literal_records,
}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@lru_cache(maxsize=2)
def _kept_out(data: Path) -> str:
    """The contexts kept for development, in one string."""
    contexts = (normal_form(row["context"]) for name in _KEPT_OUT for row in _rows(data / name))
    return "\n".join(dict.fromkeys(contexts))


def _clean(records: Iterable[QaRecord], data: Path) -> list[QaRecord]:
    """Keep the answers that end and begin with sentences as serving cuts them and that are short enough;
    leave out records without one and those whose answer stands in a set kept for development.
    """
    kept_out = _kept_out(data)
    found = []
    for record in records:
        spans = split_sentences(record.context)
        answers = tuple(answer for answer in record.answers if is_whole(spans, answer, record.context))
        seen = any(normal_form(record.context[start:end]) in kept_out for start, end in answers)
        if (answers or not record.answers) and not seen:
            found.append(QaRecord(record.question, record.context, record.group, answers, record.style))
    return found


def _about(claim: str, sentences: Sequence[str], run: Span) -> bool:
    """Whether a run lies in the abstract and shares words with the claim: the evidence is numbered by
    another sentence split, so a number may be one off.
    """
    if run[1] > len(sentences) or run[1] - run[0] > MAX_SENTENCES:
        return False
    return len(content_stems(claim) & content_stems(" ".join(sentences[slice(*run)]))) >= 2
