"""Queries written for a passage: its heading, its telling sentences, and what the decoder asks about it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from embeddings.errors import InvalidInput
from generation.asking import ask_questions
from generation.decoder import Decoder
from generation.sampling import SamplingSettings
from generation.scripts import mostly_latin
from generation.sentences import split_sentences
from training.siamese.claims import claim, spoken_name, telling_sentences
from training.siamese.term_weights import TermWeights

Source = Literal["decoder", "headings", "sentences"]

MAX_TITLE_CHARACTERS = 300
ASKED_CHARACTERS = 700  # of a passage that are read by the decoder: it asks best about a few sentences
# A query that stands in its positive word for word teaches to match words; one that doesn't, what the rest is
# about. The paper takes it out nine times of ten, but searches also are for words.
# Source: Lee, Chang and Toutanova, "Latent retrieval for weakly supervised open domain QA", ACL 2019.
REMOVED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Passage:
    """heading: empty without one; body: the text without the title line that stands above it."""

    id: str
    text: str
    heading: str
    body: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A query that was not checked yet. positive: the passage, or what is left of it."""

    passage: Passage
    query: str
    positive: str
    source: Source


def read_passage(passage_id: str, text: str, heading: str = "") -> Passage:
    """heading: as the collection has it; without one a short first line is taken for the title."""
    first, _, rest = text.partition("\n")
    title = first.strip()
    fits = not heading or title.casefold() in heading.casefold() or heading.casefold() in title.casefold()
    if title and rest.strip() and len(title) <= MAX_TITLE_CHARACTERS and fits:
        return Passage(passage_id, text, heading or title, rest.strip())
    return Passage(passage_id, text, heading, text)


def from_heading(passage: Passage, rng: random.Random) -> Iterator[Draft]:
    """The heading, as the query for the passage or for its body alone."""
    if passage.heading:
        positive = passage.body if rng.random() < REMOVED_SHARE else passage.text
        yield Draft(passage, spoken_name(passage.heading), positive, "headings")


def from_sentences(passage: Passage, weights: TermWeights, rng: random.Random) -> Iterator[Draft]:
    """Sentences that stand for the passage, most telling first, without what leads up to their statement."""
    for sentence in telling_sentences(passage.body, weights):
        positive = passage.text
        if rng.random() < REMOVED_SHARE:
            positive = passage.text.replace(sentence, "", 1).strip()
        yield Draft(passage, claim(sentence), positive, "sentences")


class QuestionWriter:
    """Questions of a decoder. It reads a part of the passage, drawn evenly."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def draft(self, passage: Passage, count: int, rng: random.Random) -> Iterator[Draft]:
        """At most `count` questions; none about a passage that the decoder cannot read."""
        if mostly_latin(passage.body):
            part = _part(passage.body, rng)
            for question in self._ask(part, count):
                yield Draft(passage, question, passage.text, "decoder")

    def _ask(self, part: str, count: int) -> list[str]:
        while part:
            try:
                return ask_questions(self._decoder, part, None, count, SamplingSettings())
            except InvalidInput:  # has more tokens than the decoder reads, or no word
                part = part[: len(part) // 2].rpartition(" ")[0]
        return []


def _part(text: str, rng: random.Random) -> str:
    """Some neighbouring sentences of a text."""
    spans = split_sentences(text)
    if len(text) <= ASKED_CHARACTERS or not spans:
        return text
    starts = [start for start, _ in spans if len(text) - start >= ASKED_CHARACTERS / 2]
    first = rng.choice(starts or [spans[0][0]])
    ends = [end for start, end in spans if start >= first and end - first <= ASKED_CHARACTERS]
    return text[first : ends[-1]] if ends else text[first : first + ASKED_CHARACTERS]
