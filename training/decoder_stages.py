"""The stages of the bundled decoder's training and where their records come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.decoder_alterations import altered_questions
from training.decoder_data import MixSettings, QaRecord, load_records
from training.decoder_mining import with_plausible_answers
from training.decoder_pairs import with_found_spans
from training.decoder_recipe import SPAN_FILES, existing, held_out
from training.decoder_sentences import sentence_records, squad_pair_records
from training.decoder_spans import raw_texts, recurring_span_records

FIRST_STAGE = "spans"
PAIRING_STAGE = "refine"


@dataclass(frozen=True, slots=True)
class Source:
    """Records of one kind. share: of a stage's examples, relative to the others'; searched: whether
    distractors also come from a search among the searched sources.
    """

    name: str
    records: Callable[["TrainingSets"], Sequence[QaRecord]]
    share: float
    mix: MixSettings
    searched: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training with a learning rate that rises and falls again.

    steps: optimiser steps; rates: peaks, of the layers and of the heads, which start from nothing.
    """

    name: str
    steps: int
    learning_rate: float
    head_learning_rate: float
    sources: tuple[Source, ...]
    warmup_steps: int = 100
    final_share: float = 0.05


class TrainingSets:
    """The records of the data folder, read and made when they are first asked for.

    checkpoints: where earlier stages leave their weights. Raises FileNotFoundError naming the missing set.
    """

    def __init__(self, data: Path, checkpoints: Path, seed: int = 7) -> None:
        self.data = data
        self.checkpoints = checkpoints
        self.seed = seed
        self._made: dict[str, list[QaRecord]] = {}

    def _once(self, name: str, make: Callable[[], Sequence[QaRecord]]) -> list[QaRecord]:
        if name not in self._made:
            self._made[name] = [record for record in make() if not held_out(record.group)]
        return self._made[name]

    def spans(self, index: int) -> list[QaRecord]:
        """The records of one of `SPAN_FILES`."""
        return self._once(SPAN_FILES[index], lambda: load_records(existing(self.data, SPAN_FILES[index])))

    def squad_with_wrong_answers(self) -> list[QaRecord]:
        """SQuAD's questions, with what the first stage's decoder would say to those without an answer."""
        weights, cache = self.checkpoints / f"{FIRST_STAGE}.pt", self.checkpoints / "plausible.json"
        return with_plausible_answers(self.spans(0), weights, cache)

    def recurring(self) -> list[QaRecord]:
        """Cloze questions made from raw text."""
        return self._once("recurring", lambda: recurring_span_records(raw_texts(self.data), self.seed))

    def sentences(self) -> list[QaRecord]:
        """Questions that whole sentences answer."""
        return self._once("sentences", lambda: sentence_records(self.data))

    def pairs(self) -> list[QaRecord]:
        """SQuAD's pairs of a question and a sentence, with the span that the third stage's decoder finds."""
        weights, cache = self.checkpoints / f"{PAIRING_STAGE}.pt", self.checkpoints / "pairs.json"
        return self._once("pairs", lambda: with_found_spans(squad_pair_records(self.data), weights, cache))

    def altered(self) -> list[QaRecord]:
        """Answerable questions changed until they have no answer."""
        return self._once("altered", self._alter)

    def _alter(self) -> list[QaRecord]:
        """Set by set: the other names of an article or story take a name's place."""
        answerable = [
            [record for record in self.spans(index) if record.answers] for index in range(len(SPAN_FILES))
        ]
        return [
            record for records in answerable for record in altered_questions(records, self.seed, share=1.0)
        ]


_PLAIN = MixSettings(many_passages=0.15)
_ANSWER = MixSettings(asked=0.12)
_ASK = MixSettings(asked=1.0)
# Late: questions to write count for more once answers are found well.
_PRACTICE = MixSettings(asked=0.15, asked_weight=0.6)


_NQ = Source("nq", lambda sets: sets.spans(1), 0.09, _ANSWER, searched=True)
_FAIRYTALES = Source("fairytales", lambda sets: sets.spans(2), 0.14, _ANSWER, searched=True)

_PRACTISED = (
    Source("squad", TrainingSets.squad_with_wrong_answers, 0.36, _PRACTICE, searched=True),
    Source("pairs", TrainingSets.pairs, 0.22, _PRACTICE, searched=True),
    replace(_NQ, share=0.10),
    replace(_FAIRYTALES, share=0.08),
    Source("altered", TrainingSets.altered, 0.09, MixSettings(many_passages=0.1)),
    Source("sentences", TrainingSets.sentences, 0.08, _PRACTICE),
    Source("asked", TrainingSets.sentences, 0.04, _ASK),
    Source("recurring", TrainingSets.recurring, 0.03, _PLAIN),
)

_MIXED = (
    Source("squad", TrainingSets.squad_with_wrong_answers, 0.47, _ANSWER, searched=True),
    replace(_NQ, share=0.12),
    replace(_FAIRYTALES, share=0.12),
    Source("altered", TrainingSets.altered, 0.09, MixSettings(many_passages=0.1)),
    Source("sentences", TrainingSets.sentences, 0.13, _ANSWER),
    Source("asked", TrainingSets.sentences, 0.03, _ASK),
    Source("recurring", TrainingSets.recurring, 0.04, _PLAIN),
)

STAGES: tuple[Stage, ...] = (
    # Raw text first: finding what recurs teaches to find, from far more text than there are questions.
    Stage(
        FIRST_STAGE,
        800,
        2.5e-4,
        1e-3,
        (
            Source("recurring", TrainingSets.recurring, 1.80, _PLAIN),
            Source("squad", lambda sets: sets.spans(0), 0.38, _ANSWER, searched=True),
            _NQ,
            _FAIRYTALES,
        ),
    ),
    Stage("answers", 1700, 2.2e-4, 5e-4, _MIXED),
    # The same once more from a smaller rate: the second stage alone sees each question hardly twice.
    Stage(PAIRING_STAGE, 1100, 1.5e-4, 3e-4, _MIXED),
    # Twice the questions, from three times the articles, once the decoder can say where their answers are.
    Stage("practice", 2400, 2e-4, 4e-4, _PRACTISED),
)

# The weights that are shipped: the mean of two stages' ones is better than either on both development sets
# (Wortsman et al., "Model soups", ICML 2022). Shares add up to 1.
AVERAGED = {"refine": 0.3, "practice": 0.7}
