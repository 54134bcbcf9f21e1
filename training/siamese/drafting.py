"""Drafts of queries, passage by passage: what is written for one depends on nothing but it and its number.

So any number of processes write the same.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import Path

from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from training.siamese.drafts import Draft, Passage, QuestionWriter, Source, from_heading, from_sentences
from training.siamese.plan import Synthetic
from training.siamese.progress import Show
from training.siamese.query_checks import find_fault
from training.siamese.term_weights import TermWeights

SPARE = 2  # drafts of a passage beyond what is wanted, for those that are not found again
MAX_ASKED_PASSAGES = 1_000  # by the decoder: a third of a second each on one core
SEED = 7

Writer = Callable[[Passage], Iterator[Draft]]


@dataclass(frozen=True, slots=True)
class Written:
    """Of one passage. drafts: without a fault; counts: of all that were written, by source; faulty: reason
    and query of the others.
    """

    drafts: list[Draft]
    counts: Counter[str] = field(default_factory=Counter)
    faulty: list[tuple[str, str]] = field(default_factory=list)


DraftPassages = Callable[[Synthetic, TermWeights, Sequence[Passage], Show], Iterator[Written]]


def draft_here(
    settings: Synthetic, weights: TermWeights, passages: Sequence[Passage], show: Show
) -> Iterator[Written]:
    """Drafts for each passage, in their order. Raises ModelDamaged for a broken decoder."""
    drafter = Drafter(settings, weights, load_decoder(settings))
    for number, passage in enumerate(passages):
        show("passages with queries", number, len(passages))
        yield drafter.write(passage, number)


def decoder_folder(settings: Synthetic) -> Path | None:
    """Of the decoder that asks; None where none does."""
    return Path(settings.decoder or BUNDLED_DECODER) if "decoder" in settings.sources else None


def load_decoder(settings: Synthetic) -> Decoder | None:
    """The decoder that asks, with one thread; None where none does. Raises ModelDamaged."""
    folder = decoder_folder(settings)
    return None if folder is None else Decoder.load(folder, threads=1)


class Drafter:
    """Writes drafts and strikes out the faulty ones."""

    def __init__(self, settings: Synthetic, weights: TermWeights, decoder: Decoder | None) -> None:
        self._settings = settings
        self._weights = weights
        self._questions = None if decoder is None else QuestionWriter(decoder)
        self._sources: list[Source] = list(dict.fromkeys(settings.sources))

    def write(self, passage: Passage, number: int) -> Written:
        """Faultless drafts, from the sources in turn, beginning with another source for each passage.

        number: of the passage among those drawn, from 0.
        """
        written = Written([])
        rng = random.Random(f"{SEED} {number}")
        writers = [self._writer(source, rng) for source in self._writing(number)]
        drafts = chain.from_iterable(zip_longest(*(writer(passage) for writer in writers)))
        sound = (draft for draft in drafts if draft is not None and self._passes(draft, written))
        written.drafts.extend(islice(sound, self._settings.per_passage + SPARE))
        return written

    def _writing(self, number: int) -> list[Source]:
        """The sources that write for a passage, in their order.

        The decoder, which costs most, is left out where it would only write spare ones, and after so many
        passages.
        """
        turns = self._turns(number)
        if self._is_asked(number) and self._asked_before(number) < MAX_ASKED_PASSAGES:
            return turns
        return [source for source in turns if source != "decoder"]

    def _turns(self, number: int) -> list[Source]:
        first = number % max(len(self._sources), 1)
        return [*self._sources[first:], *self._sources[:first]]

    def _is_asked(self, number: int) -> bool:
        return "decoder" in self._turns(number)[: self._settings.per_passage]

    def _asked_before(self, number: int) -> int:
        """Of the passages with smaller numbers; the turns come round with the number of sources."""
        around = [self._is_asked(each) for each in range(len(self._sources))]
        rounds, rest = divmod(number, max(len(around), 1))
        return rounds * sum(around) + sum(around[:rest])

    def _writer(self, source: Source, rng: random.Random) -> Writer:
        questions, wanted = self._questions, self._settings.per_passage + 1
        if source == "headings":
            return lambda passage: from_heading(passage, rng)
        if source == "sentences" or questions is None:
            return lambda passage: from_sentences(passage, self._weights, rng)
        return lambda passage: questions.draft(passage, wanted, rng)

    def _passes(self, draft: Draft, written: Written) -> bool:
        written.counts[draft.source] += 1
        fault = find_fault(draft, self._weights)
        if fault:
            written.faulty.append((f"{draft.source}: {fault}", draft.query))
        return fault is None
