"""Synthetic queries: training pairs out of a collection for which no one has asked anything yet."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from training.siamese.claims import count_words
from training.siamese.drafts import (
    Draft,
    Passage,
    QuestionWriter,
    Source,
    from_heading,
    from_sentences,
    read_passage,
)
from training.siamese.plan import Synthetic
from training.siamese.progress import Show
from training.siamese.query_checks import find_fault
from training.siamese.round_trip import found_again
from training.siamese.term_weights import TermWeights
from training.siamese.types import Corpus, EncodeTexts, Origin, Pair, document_of

MIN_PASSAGE_WORDS = 15  # a shorter one has nothing to ask for beyond its words
SPARE = 2  # drafts of a passage beyond what is wanted, for those that are not found again
MAX_ASKED_PASSAGES = 1_000  # by the decoder: a third of a second each on one core
SEED = 7

Writer = Callable[[Passage], Iterator[Draft]]


@dataclass(frozen=True, slots=True)
class WritingReport:
    """written, kept: queries by source. removed: by reason. examples: some removed queries by reason."""

    passages: int
    written: dict[str, int]
    kept: dict[str, int]
    removed: dict[str, int]
    examples: dict[str, list[str]]


def write_queries(
    corpus: Corpus, headings: Mapping[str, str], settings: Synthetic, encode: EncodeTexts, show: Show
) -> tuple[list[Pair], dict[str, Any]]:
    """Pairs of written queries and passages of the corpus, and a report (WritingReport as a dict).

    headings: of the passages that have one, by id. The passages are drawn evenly over documents. Each gets at
    most `per_passage` queries, from the sources in turn; fewer when its queries are faulty, alike, or do not
    find it again. The same corpus and settings give the same pairs.
    Raises ModelDamaged for a broken decoder, whatever `show` raises.
    """
    desk = _Desk(corpus, settings)
    drawn = list(islice(_draw(corpus, headings), settings.passages))
    drafts: list[Draft] = []
    for done, passage in enumerate(drawn):
        show("passages with queries", done, len(drawn))
        drafts += desk.write(passage, done)
    kept = desk.choose(drafts, corpus, encode, show) if drafts else []
    pairs = [_pair(draft) for draft in kept]
    return pairs, asdict(desk.report(len(drawn), kept))


def _pair(draft: Draft) -> Pair:
    return Pair(draft.query, draft.positive, document_of(draft.passage.id), Origin.SYNTHETIC)


def _draw(corpus: Corpus, headings: Mapping[str, str]) -> Iterator[Passage]:
    """Passages that are long enough: one of each document in random order, then a second one, and so on."""
    rng = random.Random(SEED)
    documents: dict[str, list[str]] = defaultdict(list)
    for drawn in rng.sample(list(corpus), len(corpus)):
        documents[document_of(drawn)].append(drawn)
    for passage_id in chain.from_iterable(zip_longest(*documents.values())):
        if passage_id is not None:
            passage = read_passage(passage_id, corpus[passage_id], headings.get(passage_id, ""))
            if count_words(passage.body) >= MIN_PASSAGE_WORDS:
                yield passage


class _Desk:
    """Writes drafts, strikes out the faulty ones, and keeps count."""

    def __init__(self, corpus: Corpus, settings: Synthetic) -> None:
        self._settings = settings
        self._weights = TermWeights(corpus.values())
        self._rng = random.Random(SEED)
        self._asked = 0
        writers: dict[Source, Writer] = {
            "decoder": self._ask,
            "headings": lambda passage: from_heading(passage, self._rng),
            "sentences": lambda passage: from_sentences(passage, self._weights, self._rng),
        }
        self._writers = [(source, writers[source]) for source in dict.fromkeys(settings.sources)]
        self._questions = QuestionWriter(self._decoder()) if "decoder" in settings.sources else None
        self._written: Counter[str] = Counter()
        self._removed: dict[str, list[str]] = defaultdict(list)

    def _decoder(self) -> Decoder:
        return Decoder.load(Path(self._settings.decoder or BUNDLED_DECODER), threads=1)

    def _ask(self, passage: Passage) -> Iterator[Draft]:
        if self._questions is not None and self._asked < MAX_ASKED_PASSAGES:
            self._asked += 1
            yield from self._questions.draft(passage, self._settings.per_passage + 1, self._rng)

    def write(self, passage: Passage, number: int) -> Iterator[Draft]:
        """Faultless drafts, from the sources in turn, beginning with another source for each passage.

        The decoder, which costs most, is left out where it would only write spare ones.
        """
        first = number % max(len(self._writers), 1)
        turns = [*self._writers[first:], *self._writers[:first]]
        wanted = self._settings.per_passage
        writers = [
            writer for turn, (source, writer) in enumerate(turns) if turn < wanted or source != "decoder"
        ]
        drafts = chain.from_iterable(zip_longest(*(writer(passage) for writer in writers)))
        return islice(filter(self._passes, filter(None, drafts)), self._settings.per_passage + SPARE)

    def _passes(self, draft: Draft) -> bool:
        self._written[draft.source] += 1
        fault = find_fault(draft, self._weights)
        if fault:
            self._removed[f"{draft.source}: {fault}"].append(draft.query)
        return fault is None

    def choose(self, drafts: Sequence[Draft], corpus: Corpus, encode: EncodeTexts, show: Show) -> list[Draft]:
        """Those that find their passage and say something new, as many as wanted of each passage."""
        within = self._settings.consistent_within
        found, repeated = found_again(drafts, corpus, within, encode, show, SEED)
        taken: Counter[str] = Counter()
        kept = []
        for draft, again, said in zip(drafts, found.tolist(), repeated.tolist(), strict=True):
            fault = "nearly equals another" if said else None if again else "does not find its passage"
            if fault:
                self._removed[f"{draft.source}: {fault}"].append(draft.query)
            elif taken[draft.passage.id] < self._settings.per_passage:
                taken[draft.passage.id] += 1
                kept.append(draft)
        return kept

    def report(self, passages: int, kept: Sequence[Draft]) -> WritingReport:
        removed = {reason: len(queries) for reason, queries in sorted(self._removed.items())}
        removed["spare"] = sum(self._written.values()) - sum(removed.values()) - len(kept)
        examples = {reason: queries[:3] for reason, queries in sorted(self._removed.items())}
        by_source: Counter[str] = Counter(draft.source for draft in kept)
        return WritingReport(passages, dict(self._written), dict(by_source), removed, examples)
