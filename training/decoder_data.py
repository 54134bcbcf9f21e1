"""Question-answering records become prompts with targets for the copying decoder.

An example keeps, for each answer token, every place of the prompt where the whole answer stands, so that
the copy head is not punished for pointing at another mention of it.
"""

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from generation.prompt import Prompt, PromptLayout, build_prompt


@dataclass(frozen=True, slots=True)
class QaRecord:
    """One question. answers: `[start, end)` code points in the context; empty when it does not hold the
    answer.
    """

    question: str
    context: str
    group: str
    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its answer. targets: (n,) token ids; sources: for each target the prompt indices it may
    be copied from.
    """

    prompt: Prompt
    targets: NDArray[np.int64]
    sources: tuple[tuple[int, ...], ...]
    passage: int

    @property
    def length(self) -> int:
        """Tokens that the model reads: the last target is never an input."""
        return len(self.prompt) + len(self.targets) - 1


@dataclass(frozen=True, slots=True)
class MixSettings:
    """How records become examples. Shares are probabilities.

    many_passages: share of examples with 2 to max_passages passages; absent: share of answerable questions
    that are shown only passages without the answer (a refusal that retrieval at its worst would call for).
    """

    many_passages: float = 0.3
    max_passages: int = 4
    absent: float = 0.06
    max_prompt_tokens: int = 600
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
    """Turns records into examples, drawing distractor passages from the same group (article or story)."""

    def __init__(
        self, tokenizer: Tokenizer, layout: PromptLayout, records: Sequence[QaRecord], mix: MixSettings
    ) -> None:
        self._tokenizer = tokenizer
        self._layout = layout
        self._mix = mix
        self._encodings: dict[str, Piece] = {}
        self._by_group: dict[str, list[str]] = defaultdict(list)
        for context in dict.fromkeys(record.context for record in records):
            encoding = tokenizer.encode(context, add_special_tokens=False)
            self._encodings[context] = Piece(encoding.ids, encoding.offsets)
        for group, context in dict.fromkeys((record.group, record.context) for record in records):
            self._by_group[group].append(context)
        self._contexts = list(self._encodings)

    def epoch(self, records: Iterable[QaRecord], rng: random.Random) -> Iterator[Example]:
        """One example a record, freshly mixed; a record whose answer cannot be placed is left out."""
        for record in records:
            example = self.build(record, rng)
            if example is not None:
                yield example

    def build(self, record: QaRecord, rng: random.Random) -> Example | None:
        """Draw an answer, distractors and an order; None when the question is too long or the answer does
        not fit.
        """
        question = self._tokenizer.encode(record.question, add_special_tokens=False)
        if len(question.ids) > self._layout.max_question_tokens:
            return None
        answer = rng.choice(record.answers) if record.answers else None
        gold, span = self._window(record.context, answer, rng)
        if answer and (span is None or span[1] - span[0] + 2 > self._layout.max_answer_tokens):
            return None
        hide_gold = answer is not None and rng.random() < self._mix.absent
        passages = [] if hide_gold else [gold]
        passages += self._distractors(record, answer, rng, at_least=1 if hide_gold else 0)
        if not passages:
            return None
        rng.shuffle(passages)
        prompt = build_prompt(self._layout, question, passages)
        if span is None or hide_gold:
            return self._refusal(prompt)
        return self._answer(prompt, passages.index(gold), span)

    def _window(
        self, context: str, answer: tuple[int, int] | None, rng: random.Random
    ) -> tuple[Piece, tuple[int, int] | None]:
        """Cut a long context around the answer; returns the piece and the answer's token span in it."""
        encoding, size = self._encodings[context], self._mix.window_tokens
        span = _token_span(encoding, answer) if answer else None
        if answer and span is None:
            return Piece(encoding.ids[:size], encoding.offsets[:size]), None
        low = max(0, span[1] - size) if span else 0
        high = min(span[0] if span else len(encoding.ids), max(0, len(encoding.ids) - size))
        start = rng.randint(low, high) if high > low else min(low, high) if span is None else low
        piece = Piece(encoding.ids[start : start + size], encoding.offsets[start : start + size])
        return piece, (span[0] - start, span[1] - start) if span else None

    def _distractors(
        self, record: QaRecord, answer: tuple[int, int] | None, rng: random.Random, at_least: int
    ) -> list[Piece]:
        many = rng.random() < self._mix.many_passages
        wanted = rng.randint(1, self._mix.max_passages - 1) if many else at_least
        forbidden = record.context[slice(*answer)].casefold() if answer else None
        pool = self._by_group[record.group]
        pool = pool if len(pool) > wanted else self._contexts
        found: list[Piece] = []
        budget = self._mix.max_prompt_tokens - self._mix.window_tokens
        for context in rng.sample(pool, min(len(pool), 3 * wanted)):
            if len(found) == wanted:
                break
            if context == record.context or (forbidden and forbidden in context.casefold()):
                continue
            piece, _ = self._window(context, None, rng)
            if len(piece.ids) <= budget or not found:
                found.append(piece)
                budget -= len(piece.ids)
        return found

    def _refusal(self, prompt: Prompt) -> Example:
        targets = np.asarray([self._layout.refuse], dtype=np.int64)
        return Example(prompt, targets, ((),), passage=0)

    def _answer(self, prompt: Prompt, index: int, span: tuple[int, int]) -> Example | None:
        placed = prompt.passages[index]
        first, last = span
        if last > len(placed.offsets):
            return None
        ids = prompt.token_ids[placed.first : placed.first + len(placed.offsets)]
        answer = ids[first:last]
        starts = [
            i for i in range(len(ids) - len(answer) + 1) if np.array_equal(ids[i : i + len(answer)], answer)
        ]
        marker = self._layout.passage_tokens[placed.number - 1]
        sources = (
            (placed.first - 1,),
            *(tuple(placed.first + i + step for i in starts) for step in range(len(answer))),
            (),
        )
        return Example(
            prompt, np.asarray([marker, *answer, self._layout.end]), sources, passage=placed.number
        )


def _token_span(encoding: Piece, answer: tuple[int, int]) -> tuple[int, int] | None:
    """The tokens that overlap the code points `[start, end)`."""
    touched = [i for i, (start, end) in enumerate(encoding.offsets) if start < answer[1] and end > answer[0]]
    return (touched[0], touched[-1] + 1) if touched else None
