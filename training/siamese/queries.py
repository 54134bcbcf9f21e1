"""Synthetic queries: training pairs out of a collection for which no one has asked anything yet."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice, zip_longest
from typing import Any

from training.siamese.claims import count_words
from training.siamese.drafting import SEED, DraftPassages, Written, draft_here
from training.siamese.drafts import Draft, Passage, read_passage
from training.siamese.plan import Synthetic
from training.siamese.progress import Show
from training.siamese.round_trip import found_again
from training.siamese.term_weights import TermWeights
from training.siamese.types import Corpus, EncodeTexts, Origin, Pair, document_of

MIN_PASSAGE_WORDS = 15  # a shorter one has nothing to ask for beyond its words


@dataclass(frozen=True, slots=True)
class WritingReport:
    """written, kept: queries by source. removed: by reason. examples: some removed queries by reason."""

    passages: int
    written: dict[str, int]
    kept: dict[str, int]
    removed: dict[str, int]
    examples: dict[str, list[str]]


def write_queries(
    corpus: Corpus,
    headings: Mapping[str, str],
    settings: Synthetic,
    encode: EncodeTexts,
    show: Show,
    draft: DraftPassages = draft_here,
) -> tuple[list[Pair], dict[str, Any]]:
    """Pairs of written queries and passages of the corpus, and a report (WritingReport as a dict).

    headings: of the passages that have one, by id. The passages are drawn evenly over documents. Each gets at
    most `per_passage` queries, from the sources in turn; fewer when its queries are faulty, alike, or do not
    find it again. The same corpus and settings give the same pairs.
    draft: writes the drafts, here or elsewhere. Raises ModelDamaged for a broken decoder, whatever `show`
    raises.
    """
    desk = _Desk(settings)
    drawn = list(islice(_draw(corpus, headings), settings.passages))
    weights = TermWeights(corpus.values())
    drafts = [each for written in draft(settings, weights, drawn, show) for each in desk.take(written)]
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
    """Chooses among drafts, and keeps count."""

    def __init__(self, settings: Synthetic) -> None:
        self._settings = settings
        self._written: Counter[str] = Counter()
        self._removed: dict[str, list[str]] = defaultdict(list)

    def take(self, written: Written) -> list[Draft]:
        """The drafts of a passage."""
        self._written += written.counts
        for reason, query in written.faulty:
            self._removed[reason].append(query)
        return written.drafts

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
