"""What no encoder should learn from is removed before training, and the report says what and why."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, cast

from training.siamese.near_texts import encode_once, leaders
from training.siamese.plan import Cleaning
from training.siamese.texts import check_languages, in_languages, normalised, numbers_in, without_markup
from training.siamese.types import EncodeTexts, LabelledText, Pair, ScoredPair, TrainingData

EMPTY = "empty"
SHORT = "too short"
LONG = "too long"
SAME = "query equals its passage"
LANGUAGE = "wrong language"
EXACT = "exact duplicate"
NEAR = "near duplicate"
CONTRADICTION = "one text under several labels"

_SHOWN = 3
_SHOWN_CHARACTERS = 200

AnyExample = Pair | ScoredPair | LabelledText
T = TypeVar("T", bound=AnyExample)


@dataclass(frozen=True, slots=True)
class Removal:
    """Examples removed for one reason, and a few of them as text."""

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """kept: examples left; altered: those out of which markup was taken; removed: by reason."""

    kept: int
    altered: int = 0
    removed: tuple[Removal, ...] = ()


class Removed:
    """Collects what is removed, by reason, in the order in which the reasons first came up."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, example: AnyExample) -> None:
        """Count one, and keep it to be shown if there are few yet."""
        self._counts[reason] += 1
        if len(self._examples[reason]) < _SHOWN:
            self._examples[reason].append(_shown(example))

    def is_for(self, reason: str | None, example: AnyExample) -> bool:
        """Count the example when there is a reason; whether there is one."""
        if reason:
            self.add(reason, example)
        return reason is not None

    def removals(self) -> tuple[Removal, ...]:
        """What was removed so far."""
        return tuple(
            Removal(reason, count, tuple(self._examples[reason])) for reason, count in self._counts.items()
        )


def clean(data: TrainingData, settings: Cleaning, encode: EncodeTexts) -> tuple[TrainingData, CleaningReport]:
    """Take out what teaches nothing or twice the same.

    HTML tags go out of texts, but not out of those that stand so in the corpus: the collection is searched as
    it is. Examples are removed for these reasons, in this order: one text under several labels; empty, or
    nothing but markup; too short or too long; a query that is its own passage; a language that is not wanted;
    exact duplicates (case and spaces aside), whose negatives go to the one that stays; near duplicates: each
    side near to the same text by their vectors, with the same numbers and the same label. Negatives that are
    empty or a positive of the same query go without a word. The corpus is not touched.

    Raises InvalidInput for a language that cannot be detected.
    """
    check_languages(settings.languages)
    removed, altered = Removed(), Counter[str]()
    served = frozenset(data.corpus.values())

    def cleaned(examples: Sequence[T]) -> list[T]:
        plain = (_plain(example, served, altered) for example in examples)
        sound = [each for each in plain if not removed.is_for(_reason(each, settings), each)]
        return list(_without_near(_without_equal(sound, removed), settings.near_duplicates, encode, removed))

    labelled = list(_without_contradictions(data.labelled, removed))
    result = TrainingData(
        tuple(_with_true_negatives(cleaned(data.pairs))),
        tuple(cleaned(data.scored)),
        tuple(cleaned(labelled)),
        data.corpus,
    )
    return result, CleaningReport(len(result), altered.total(), removed.removals())


def sides(example: AnyExample) -> tuple[str, ...]:
    """The texts of an example that are encoded: query and positive, first and second, or one text."""
    if isinstance(example, Pair):
        return example.query, example.positive
    return (example.first, example.second) if isinstance(example, ScoredPair) else (example.text,)


def roles(example: AnyExample) -> tuple[Literal["query", "passage"], ...]:
    """What its sides are for an encoder with prompts; alike where the texts are."""
    if isinstance(example, LabelledText):
        return ("query",)
    return ("query", "passage" if isinstance(example, Pair) else "query")


def _plain(example: T, served: frozenset[str], altered: Counter[str]) -> T:
    """Without markup and outer spaces."""

    def plain(text: str) -> str:
        return text if text in served else without_markup(text).strip()

    if isinstance(example, Pair):
        negatives = tuple(map(plain, example.negatives))
        changed: AnyExample = replace(
            example, query=plain(example.query), positive=plain(example.positive), negatives=negatives
        )
    elif isinstance(example, ScoredPair):
        changed = replace(example, first=plain(example.first), second=plain(example.second))
    else:
        changed = replace(example, text=plain(example.text))
    if any(new != old.strip() for new, old in zip(sides(changed), sides(example), strict=True)):
        altered["markup"] += 1
    return cast(T, changed)


def _reason(example: AnyExample, settings: Cleaning) -> str | None:
    """Why an example is to go whatever the others are; None for one that may stay."""
    texts = sides(example)
    minima = (settings.min_query_characters, settings.min_query_characters)
    if isinstance(example, Pair):
        minima = (settings.min_query_characters, settings.min_passage_characters)
    if not all(text.strip() for text in texts):
        return EMPTY
    if any(len(text) < least for text, least in zip(texts, minima, strict=False)):
        return SHORT
    if isinstance(example, Pair) and len(example.query) > settings.max_query_characters:
        return LONG
    if isinstance(example, Pair) and normalised(example.query) == normalised(example.positive):
        return SAME
    if settings.languages and not all(in_languages(text, settings.languages) for text in texts):
        return LANGUAGE
    return None


def _without_contradictions(examples: Sequence[LabelledText], removed: Removed) -> Iterator[LabelledText]:
    labels: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        labels[normalised(example.text)].add(example.label)
    for example in examples:
        if len(labels[normalised(example.text)]) == 1 or not example.text.strip():
            yield example
        else:
            removed.add(CONTRADICTION, example)


def _without_equal(examples: Iterable[T], removed: Removed) -> list[T]:
    kept: dict[tuple[str, ...], T] = {}
    for example in examples:
        key = tuple(map(normalised, sides(example)))
        first = kept.setdefault(key, example)
        if first is not example:
            removed.add(EXACT, example)
            kept[key] = _with_negatives_of(first, example)
    return list(kept.values())


def _with_negatives_of(one: T, other: T) -> T:
    """A file of triplets has a line for each negative; none is lost."""
    if isinstance(one, Pair) and isinstance(other, Pair) and other.negatives:
        together = tuple(dict.fromkeys(one.negatives + other.negatives))
        return cast(T, replace(one, negatives=together))
    return one


def _without_near(examples: Sequence[T], near: float, encode: EncodeTexts, removed: Removed) -> Iterator[T]:
    """The first of those whose sides are all near to the same texts. Second sides are encoded only where the
    first ones do not tell examples apart: passages are long, and nearly all queries differ.
    """
    keys: list[Hashable] = [getattr(example, "label", None) for example in examples]
    for side, role in enumerate(roles(examples[0]) if examples else ()):
        counts = Counter(keys)
        rivals = [n for n, key in enumerate(keys) if counts[key] > 1]
        places = _near_keys([sides(examples[n])[side] for n in rivals], role, near, encode)
        for n, place in zip(rivals, places, strict=True):
            keys[n] = (keys[n], place)
    seen: set[Hashable] = set()
    for key, example in zip(keys, examples, strict=True):
        if key in seen:
            removed.add(NEAR, example)
        else:
            seen.add(key)
            yield example


def _near_keys(
    texts: Sequence[str], role: Literal["query", "passage"], near: float, encode: EncodeTexts
) -> list[Hashable]:
    """Equal for texts that are near to the same one and have the same numbers in them."""
    unique = list(dict.fromkeys(texts))
    if not unique:
        return []
    led = leaders(encode_once(unique, role, encode), near)
    keys = {text: (int(leader), numbers_in(text)) for text, leader in zip(unique, led, strict=True)}
    return [keys[text] for text in texts]


def _with_true_negatives(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Negatives that are texts, and no positive of the same query."""
    positives: dict[str, set[str]] = defaultdict(lambda: {""})
    for pair in pairs:
        positives[normalised(pair.query)].add(normalised(pair.positive))
    for pair in pairs:
        right = positives[normalised(pair.query)]
        negatives = tuple(text for text in pair.negatives if normalised(text) not in right)
        yield replace(pair, negatives=negatives) if negatives != pair.negatives else pair


def _shown(example: AnyExample) -> str:
    text = " → ".join(sides(example))
    if isinstance(example, LabelledText):
        text = f"{example.label}: {text}"
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
