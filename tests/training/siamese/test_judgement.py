import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.encoder import Encoder
from embeddings.errors import NotFound
from retrieval.benchmark import RetrievalTask
from training.siamese import judgement
from training.siamese.judgement import MAX_PASSAGES, Judged, Trial, decide, judge, measure, thin
from training.siamese.plan import Gate
from training.siamese.progress import RunCancelled
from training.siamese.splitting import ScoredTask

GATE = Gate(min_queries=10)
DIMENSION = 32


class Words:
    """Stands for an encoder: a text is the sum of its words. synonyms: words it takes for others."""

    dimension = DIMENSION

    def __init__(self, synonyms: dict[str, str] | None = None) -> None:
        self._synonyms = synonyms or {}
        self.texts = 0

    def encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        self.texts += len(texts)
        rows = np.stack(
            [sum((self._vector(word) for word in text.split()), self._vector("")) for text in texts]
        )
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def vocabulary_coverage(self, text: str) -> float:
        return 1.0

    def _vector(self, word: str) -> NDArray[np.float32]:
        return _drawn(self._synonyms.get(word, word))


@cache
def _drawn(word: str) -> NDArray[np.float32]:
    seed = sum(ord(letter) * 31**place for place, letter in enumerate(word)) % 2**32
    return np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)


def made(words: Words) -> Encoder:
    return cast(Encoder, words)


def quiet(_what: str, _done: int, _total: int) -> None:
    pass


QUERIES = 40
TASK = RetrievalTask(
    "held-out",
    {f"p{number}": f"passage{number}" for number in range(QUERIES)},
    {f"q{number}": f"question{number}" for number in range(QUERIES)},
    {f"q{number}": {f"p{number}": 1} for number in range(QUERIES)},
)
LEARNED = {f"question{number}": f"passage{number}" for number in range(0, QUERIES, 2)}
FIGURES = measure("held-out", TASK, made(Words()), made(Words(LEARNED)), GATE, quiet)


def general(old: float, new: float) -> dict[str, Judged]:
    return {"set": replace(FIGURES, old=old, new=new, gain=new - old)}


def test_encoder_that_learned_is_promoted_and_the_figures_say_why() -> None:
    verdict = decide(FIGURES, general(90, 89.5), GATE)

    assert verdict.promote
    assert "at least" in verdict.reasons[0]
    assert FIGURES.wins == pytest.approx(QUERIES / 2, abs=3)
    assert 20 < FIGURES.gain_at_least < FIGURES.gain < FIGURES.gain_at_most
    assert FIGURES.new == pytest.approx(FIGURES.old + FIGURES.gain, abs=0.01)
    assert FIGURES.largest[0].query.startswith("question")
    json.dumps(asdict(verdict))


def test_encoder_that_learned_nothing_is_refused() -> None:
    same = measure("held-out", TASK, made(Words()), made(Words()), GATE, quiet)

    verdict = decide(replace(same, meaningful=True), {}, GATE)

    assert not verdict.promote
    assert "gain of +0.0" in verdict.reasons[0]


def test_gain_that_few_queries_do_not_prove_is_refused() -> None:
    assert not decide(replace(FIGURES, gain=5.0, gain_at_least=-0.1), {}, GATE).promote
    assert decide(replace(FIGURES, gain=5.0, gain_at_least=0.1), {}, GATE).promote
    assert not decide(replace(FIGURES, gain=5.0, gain_at_least=0.1), {}, Gate(min_gain=1)).promote


def test_too_few_held_out_queries_are_refused() -> None:
    verdict = decide(replace(FIGURES, examples=9), {}, GATE)
    assert not verdict.promote
    assert "9" in verdict.reasons[0]


def test_loss_on_a_general_set_is_refused_by_its_measured_value() -> None:
    assert decide(FIGURES, general(90, 89.01), GATE).promote
    verdict = decide(FIGURES, general(90, 88.9), GATE)
    assert not verdict.promote
    assert "set" in verdict.reasons[0]


def test_every_reason_against_is_told() -> None:
    verdict = decide(
        replace(FIGURES, examples=1, meaningful=False, gain_at_least=-1.0), general(90, 80), GATE
    )
    assert len(verdict.reasons) == 4


def test_labels_at_random_are_known_by_their_level() -> None:
    """Where neither encoder finds what the labels call right, a gain is luck."""
    rng = np.random.default_rng(0)
    drawn = rng.permutation(120)
    documents = {f"p{number}": f"passage{number}" for number in range(120)}
    queries = {f"q{number}": f"passage{number}" for number in range(50)}
    shuffled = {f"q{number}": {f"p{drawn[number]}": 1} for number in range(50)}
    task = RetrievalTask("held-out", documents, queries, shuffled)
    true = replace(task, qrels={f"q{number}": {f"p{number}": 1} for number in range(50)})

    assert not measure("held-out", task, made(Words()), made(Words(LEARNED)), GATE, quiet).meaningful
    assert measure("held-out", true, made(Words()), made(Words(LEARNED)), GATE, quiet).meaningful


def test_questions_about_one_passage_are_no_more_proof_than_one() -> None:
    """Every question twice: the bound stays, where 80 independent ones would have narrowed it."""
    twice = replace(
        TASK,
        queries={**TASK.queries, **{f"again {name}": text for name, text in TASK.queries.items()}},
        qrels={**TASK.qrels, **{f"again {name}": grades for name, grades in TASK.qrels.items()}},
    )
    found = measure("held-out", twice, made(Words()), made(Words(LEARNED)), GATE, quiet)
    assert found.examples == 2 * QUERIES
    assert found.gain_at_least == pytest.approx(FIGURES.gain_at_least, abs=0.01)


def test_scored_pairs_are_judged_by_their_order() -> None:
    rng = np.random.default_rng(0)
    pairs = [(f"a{number}", f"b{number}", float(rng.integers(0, 2))) for number in range(60)]
    learned = {first: second for first, second, score in pairs if score}
    task = ScoredTask(*zip(*pairs, strict=True))

    found = measure("sts", task, made(Words()), made(Words(learned)), GATE, quiet)

    assert found.measure == "Spearman correlation"
    assert found.new > 80 > found.old
    assert found.gain_at_least > 30
    assert found.wins is None
    assert decide(found, {}, GATE).promote


def test_large_corpus_is_thinned_but_keeps_what_was_judged() -> None:
    documents = {f"p{number}": "text" for number in range(300)}
    task = RetrievalTask("test", documents, {"q": "text"}, {"q": {"p7": 1, "p8": 0}})

    small = thin(task, 50)

    assert len(small.documents) == 50
    assert {"p7", "p8"} <= set(small.documents)
    assert small.documents == thin(task, 50).documents
    assert thin(task, 1).documents.keys() == {"p7", "p8"}
    assert thin(task) is task
    assert len(task.documents) < MAX_PASSAGES


def test_built_in_general_set_is_always_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    sets: dict[str, Any] = {"xquad_en": TASK}
    monkeypatch.setattr(
        judgement, "load_general", lambda sources: sets | {str(each): TASK for each in sources}
    )

    verdict = judge(
        [Trial(TASK, made(Words(LEARNED)))], ["more"], made(Words()), made(Words(LEARNED)), GATE, quiet
    )

    assert set(verdict.general) == {"xquad_en", "more"}
    assert verdict.promote


def test_queries_of_a_cross_validation_are_each_ranked_by_the_encoder_that_has_not_seen_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judgement, "load_general", lambda sources: {})
    halves = [dict(list(TASK.queries.items())[start::2]) for start in (0, 1)]
    parts = [replace(TASK, queries=half, qrels={name: TASK.qrels[name] for name in half}) for half in halves]

    def gain(first: Words, second: Words) -> float:
        trials = [Trial(parts[0], made(first)), Trial(parts[1], made(second))]
        found = judge(trials, [], made(Words()), made(Words()), GATE, quiet).domain
        assert found.examples == QUERIES
        return found.gain

    # LEARNED knows the even questions, which are those of the first half.
    assert gain(Words(LEARNED), Words()) == pytest.approx(FIGURES.gain, abs=1)
    assert gain(Words(), Words(LEARNED)) == pytest.approx(0, abs=1)


def test_missing_general_set_is_told_before_anything_is_encoded() -> None:
    old = Words()
    with pytest.raises(NotFound):
        judge([Trial(TASK, made(old))], ["/no/such/set"], made(old), made(Words()), GATE, quiet)
    assert old.texts == 0


def test_judgement_can_be_cancelled() -> None:
    def stop(_what: str, _done: int, _total: int) -> None:
        raise RunCancelled

    with pytest.raises(RunCancelled):
        measure("held-out", TASK, made(Words()), made(Words()), GATE, stop)
