"""Question-answering records become prompts with targets for the copying decoder.

An example keeps, for each answer token, every place of the prompt where the whole answer stands, so that
the copy head is not punished for pointing at another mention of it.
"""

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from generation.prompt import AnswerStyle, Prompt, PromptLayout, build_prompt

_FIRST_TOKENS = 4  # of a sentence: what tells it from the others
_HINTED = 0.7  # share of the questions to write that are given their answer


@dataclass(frozen=True, slots=True)
class QaRecord:
    """One question about one context.

    answers: `[start, end)` code points in the context; empty when it does not hold the answer. style: what
    an answer is. plausible: a span that looks like an answer to an unanswerable question and is none; it
    teaches the verdict.
    """

    question: str
    context: str
    group: str
    answers: tuple[tuple[int, int], ...]
    style: AnswerStyle = "span"
    plausible: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and what is written behind it.

    tokens: (n,) ids as they are written; targets: (n,) ids to learn, -1 for none: they differ where a wrong
    answer is followed to its verdict. sources: for each target the prompt indices it may be copied from;
    written: (n,) whether it may come from the vocabulary. passage: number of the one that is named.
    """

    prompt: Prompt
    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    sources: tuple[tuple[int, ...], ...]
    written: NDArray[np.bool_]
    passage: int
    weight: float = 1.0

    @property
    def length(self) -> int:
        """Tokens that the model reads: the last one is never an input."""
        return len(self.prompt) + len(self.tokens) - 1


@dataclass(frozen=True, slots=True)
class MixSettings:
    """How records become examples. Shares are probabilities.

    many_passages: share of examples with 2 to max_passages passages; absent: share of answerable questions
    that are shown only passages without the answer (a refusal that retrieval at its worst would call for);
    asked: share of answerable questions that are to be written instead of answered; asked_weight: what their
    tokens count for beside an answer's.
    """

    many_passages: float = 0.35
    max_passages: int = 5
    absent: float = 0.06
    asked: float = 0.0
    asked_weight: float = 0.3
    max_prompt_tokens: int = 640
    window_tokens: int = 320


def load_records(path: Path, *, unanswerable: bool = True) -> list[QaRecord]:
    """Read a QA file (`*.jsonl.gz`, format in the data folder's README); answers that are free text are
    left out.
    """
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [_record(json.loads(line)) for line in lines]
    return [record for record in found if record is not None and (unanswerable or record.answers)]


def _record(row: dict[str, Any]) -> QaRecord | None:
    spans = tuple(
        (answer["answer_start"], answer["answer_start"] + len(answer["text"]))
        for answer in row["answers"]
        if answer["answer_start"] >= 0
    )
    if not spans and not row["is_impossible"]:
        return None
    return QaRecord(row["question"], row["context"], row["title"], spans)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of tokens of a context: what `build_prompt` reads of an encoding."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class ExampleBuilder:
    """Turns records into examples.

    neighbours: contexts by question that a search finds beside the right one; distractor passages are drawn
    from them and from the record's own group (article or story).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        layout: PromptLayout,
        records: Sequence[QaRecord],
        neighbours: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._layout = layout
        self._neighbours = neighbours or {}
        self._stops = [tokenizer.token_to_id(mark) or -1 for mark in ".?!"]
        self._encodings: dict[str, Piece] = {}
        self._by_group: dict[str, list[str]] = defaultdict(list)
        for group, context in dict.fromkeys((record.group, record.context) for record in records):
            self._by_group[group].append(context)
        self._contexts = list(dict.fromkeys(record.context for record in records))

    def build(self, record: QaRecord, mix: MixSettings, rng: random.Random) -> Example | None:
        """Draw an answer, distractors and an order; None when the question is too long or the answer does
        not fit.
        """
        question = self._tokenizer.encode(record.question, add_special_tokens=False)
        if len(question.ids) > self._layout.max_question_tokens:
            return None
        answer = rng.choice(record.answers) if record.answers else record.plausible
        gold, span = self._window(record.context, answer, rng, mix.window_tokens)
        if answer and (span is None or span[1] - span[0] + 3 > self._layout.max_answer_tokens):
            return None
        if record.answers and rng.random() < mix.asked:
            return self._asked(question.ids, gold, span, mix.asked_weight, rng)
        hide_gold = bool(record.answers) and rng.random() < mix.absent
        passages = [] if hide_gold else [gold]
        passages += self._distractors(record, answer, mix, rng, at_least=1 if hide_gold else 0)
        if not passages:
            return None
        rng.shuffle(passages)
        prompt = build_prompt(self._layout, question, passages, record.style)
        if span is None or hide_gold:
            return self._refusal(prompt)
        return self._answer(prompt, passages.index(gold), span, record)

    def _encode(self, context: str) -> Piece:
        if context not in self._encodings:
            encoding = self._tokenizer.encode(context, add_special_tokens=False)
            self._encodings[context] = Piece(encoding.ids, encoding.offsets)
        return self._encodings[context]

    def _window(
        self, context: str, answer: tuple[int, int] | None, rng: random.Random, size: int
    ) -> tuple[Piece, tuple[int, int] | None]:
        """Cut a long context around the answer; returns the piece and the answer's token span in it."""
        encoding = self._encode(context)
        span = _token_span(encoding, answer) if answer else None
        if answer and span is None:
            return Piece(encoding.ids[:size], encoding.offsets[:size]), None
        low = max(0, span[1] - size) if span else 0
        high = min(span[0] if span else len(encoding.ids), max(0, len(encoding.ids) - size))
        start = rng.randint(low, high) if high > low else min(low, high) if span is None else low
        piece = Piece(encoding.ids[start : start + size], encoding.offsets[start : start + size])
        return piece, (span[0] - start, span[1] - start) if span else None

    def _distractors(
        self,
        record: QaRecord,
        answer: tuple[int, int] | None,
        mix: MixSettings,
        rng: random.Random,
        at_least: int,
    ) -> list[Piece]:
        many = rng.random() < mix.many_passages
        wanted = rng.randint(1, mix.max_passages - 1) if many else at_least
        forbidden = record.context[slice(*answer)].casefold() if answer else None
        found: list[Piece] = []
        budget = mix.max_prompt_tokens - mix.window_tokens
        for context in self._near(record, wanted, rng):
            if len(found) == wanted:
                break
            if context == record.context or (forbidden and forbidden in context.casefold()):
                continue
            piece, _ = self._window(context, None, rng, mix.window_tokens)
            if len(piece.ids) <= budget or not found:
                found.append(piece)
                budget -= len(piece.ids)
        return found

    def _near(self, record: QaRecord, wanted: int, rng: random.Random) -> list[str]:
        """Candidates for distractors: half of the time what a search would bring, else of the same group."""
        retrieved = self._neighbours.get(record.question, ())
        group = self._by_group[record.group]
        if wanted and retrieved and (rng.random() < 0.5 or len(group) <= wanted):
            return rng.sample(retrieved, len(retrieved))
        pool = group if len(group) > wanted else self._contexts
        return rng.sample(pool, min(len(pool), 3 * wanted))

    def _refusal(self, prompt: Prompt) -> Example:
        targets = np.asarray([self._layout.refuse], dtype=np.int64)
        return Example(prompt, targets, targets, ((),), np.asarray([True]), passage=0)

    def _answer(self, prompt: Prompt, index: int, span: tuple[int, int], record: QaRecord) -> Example | None:
        """The marker, the answer, its end and the verdict; behind a plausible answer only the verdict is
        learnt, and the refusal in front of it.
        """
        layout, placed = self._layout, prompt.passages[index]
        first, last = span
        if last > len(placed.offsets):
            return None
        ids = prompt.token_ids[placed.first : placed.first + len(placed.offsets)]
        answer, right = ids[first:last], bool(record.answers)
        verdict = layout.accept if right else layout.refuse
        marker = layout.passage_tokens[placed.number - 1]
        tokens = np.asarray([marker, *answer, layout.end, verdict])
        targets = tokens.copy()
        if not right:
            targets[0], targets[1:-1] = layout.refuse, -1
        elif record.style == "sentences":
            # Inside a sentence every token is forced; what is learnt is where it begins and what follows it.
            forced = ~np.isin(tokens[:-1], self._stops)
            targets[1 + _FIRST_TOKENS : -2][forced[_FIRST_TOKENS:-2]] = -1
        starts = [first] if record.style == "sentences" else _places(ids, answer)
        copied = [tuple(placed.first + i + step for i in starts) for step in range(len(answer))]
        sources = ((placed.first - 1,) if right else (), *copied, (), ())
        written = np.asarray([not right, *[False] * len(answer), True, True])
        return Example(prompt, tokens, targets, sources, written, passage=placed.number)

    def _asked(
        self,
        question: Sequence[int],
        gold: Piece,
        span: tuple[int, int] | None,
        weight: float,
        rng: random.Random,
    ) -> Example:
        """The question itself is written, from the passage and, mostly, the answer."""
        hinted = span is not None and span[1] - span[0] <= self._layout.max_question_tokens
        hint = gold.ids[slice(*span)] if span and hinted and rng.random() < _HINTED else []
        prompt = build_prompt(self._layout, Piece(hint, []), [gold], "question")
        tokens = np.asarray([*question, self._layout.end])
        text = prompt.token_ids.copy()
        text[prompt.segments != 1] = -1  # only the passage is copied from
        sources = tuple(tuple(np.flatnonzero(text == token).tolist()) for token in question)
        return Example(prompt, tokens, tokens, (*sources, ()), np.ones(len(tokens), dtype=bool), 0, weight)


def _places(ids: NDArray[np.int64], answer: NDArray[np.int64]) -> list[int]:
    """Where the answer stands among the ids."""
    return [i for i in range(len(ids) - len(answer) + 1) if np.array_equal(ids[i : i + len(answer)], answer)]


def _token_span(encoding: Piece, answer: tuple[int, int]) -> tuple[int, int] | None:
    """The tokens that overlap the code points `[start, end)`."""
    touched = [i for i, (start, end) in enumerate(encoding.offsets) if start < answer[1] and end > answer[0]]
    return (touched[0], touched[-1] + 1) if touched else None
