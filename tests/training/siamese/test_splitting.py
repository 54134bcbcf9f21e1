from collections import Counter

import numpy as np
import pytest

from embeddings.errors import InvalidInput
from tests.training.siamese.text_fixtures import by_words
from training.siamese import splitting
from training.siamese.splitting import (
    ScoredTask,
    Split,
    held_out_task,
    part_of,
    split,
    split_folds,
    without_leaks,
)
from training.siamese.texts import normalised
from training.siamese.types import LabelledText, Pair, ScoredPair, TrainingData


def pairs_of(documents, each=2):
    return tuple(
        Pair(f"query {document} {number}", f"passage {document} {number}", f"document {document}")
        for document in range(documents)
        for number in range(each)
    )


def linked(count, seed):
    """Pairs that share queries, passages and documents at random."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, 3 * count, (count, 3))
    return tuple(Pair(f"Query  {q}", f"passage {p}", f"document {d}") for q, p, d in draws)


def keys(pairs, side):
    return {normalised(getattr(pair, side)) for pair in pairs}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_shared_between_training_and_held_out(seed):
    parts = split(TrainingData(pairs=linked(300, seed)), 0.2, seed)
    train, held = parts.train.pairs, parts.held_out.pairs
    assert parts.apart == "document"
    assert Counter(train + held) == Counter(linked(300, seed))
    assert 30 <= len(keys(held, "query")) <= 60
    for side in ("query", "positive", "group"):
        assert not keys(train, side) & keys(held, side)


def test_the_same_seed_splits_alike_and_another_one_does_not():
    data = TrainingData(pairs=pairs_of(50))
    assert split(data, 0.2, 1) == split(data, 0.2, 1)
    assert split(data, 0.2, 1) != split(data, 0.2, 2)


def test_each_pair_is_held_out_in_one_fold_and_trains_in_the_others():
    data = TrainingData(pairs=pairs_of(50))
    folds = split_folds(data, 3, 1)
    assert Counter(pair for fold in folds for pair in fold.held_out.pairs) == Counter(data.pairs)
    for fold in folds:
        assert Counter(fold.train.pairs + fold.held_out.pairs) == Counter(data.pairs)
        assert 25 <= len(fold.held_out.pairs) <= 40
        assert not keys(fold.train.pairs, "group") & keys(fold.held_out.pairs, "group")


def test_examples_that_all_hang_together_have_no_folds():
    pairs = tuple(Pair("one query", f"passage {n}", "d") for n in range(10))
    assert split_folds(TrainingData(pairs=pairs), 3, 1) == ()
    assert split_folds(TrainingData(pairs=pairs_of(50)), 1, 1) == ()


def test_part_of_a_task_asks_only_the_queries_of_its_fold():
    data = TrainingData(pairs=pairs_of(12), corpus={"c": "another passage"})
    folds = split_folds(data, 3, 1)
    task = held_out_task(data, data)
    parts = [part_of(task, fold.held_out) for fold in folds]
    assert sum(len(part.queries) for part in parts) == len(task.queries) == 24
    assert all(part.documents is task.documents for part in parts)
    assert {name for part in parts for name in part.qrels} == set(task.qrels)


def test_a_single_document_is_split_by_passages_and_says_so():
    pairs = tuple(Pair(f"query {n}", f"passage {n // 2}", "the manual") for n in range(40))
    parts = split(TrainingData(pairs=pairs), 0.25, 1)
    assert parts.apart == "passage"
    assert len(parts.held_out.pairs) == 10
    assert not keys(parts.train.pairs, "positive") & keys(parts.held_out.pairs, "positive")


def test_passages_judged_for_every_query_are_split_by_queries():
    pairs = tuple(Pair(f"query {n}", f"passage {m}", f"d{m}") for n in range(20) for m in range(5))
    parts = split(TrainingData(pairs=pairs), 0.25, 1)
    assert parts.apart == "query"
    assert len(keys(parts.held_out.pairs, "query")) == 5
    assert not keys(parts.train.pairs, "query") & keys(parts.held_out.pairs, "query")


def test_two_queries_are_enough_and_one_is_not():
    assert len(split(TrainingData(pairs=pairs_of(2, 1)), 0.1, 1).held_out) == 1
    assert len(split(TrainingData(pairs=pairs_of(1, 1)), 0.1, 1).held_out) == 0


def test_a_share_of_nothing_holds_nothing_out():
    data = TrainingData(pairs=pairs_of(10), labelled=(LabelledText("a", "x"), LabelledText("b", "x")))
    assert split(data, 0, 1) == Split(data, TrainingData())


def test_scored_pairs_do_not_share_texts_across():
    rng = np.random.default_rng(1)
    scored = tuple(ScoredPair(f"a {i}", f"a {j}", 0.5, f"a {i}") for i, j in rng.integers(0, 400, (150, 2)))
    parts = split(TrainingData(scored=scored), 0.2, 1)
    texts = [
        {text for each in part.scored for text in (each.first, each.second)}
        for part in (parts.train, parts.held_out)
    ]
    assert 15 <= len(parts.held_out) <= 30
    assert not texts[0] & texts[1]


def test_each_label_gives_its_share_and_keeps_a_text():
    sizes = {"big": 100, "middle": 10, "single": 1, **{f"small {n}": 3 for n in range(20)}}
    labelled = tuple(
        LabelledText(f"{label} {n}", label) for label, size in sizes.items() for n in range(size)
    )
    parts = split(TrainingData(labelled=labelled), 0.2, 1)
    held = Counter(each.label for each in parts.held_out.labelled)
    assert (held["big"], held["middle"], held["single"]) == (20, 2, 0)
    assert 10 <= sum(held[f"small {n}"] for n in range(20)) <= 14
    assert set(Counter(each.label for each in parts.train.labelled)) == set(sizes)


def test_equal_texts_of_a_label_stay_together():
    labelled = tuple(LabelledText(text, "x") for n in range(10) for text in (f"text {n}", f"Text {n}"))
    parts = split(TrainingData(labelled=labelled), 0.3, 1)
    held = {normalised(each.text) for each in parts.held_out.labelled}
    assert len(held) == 3
    assert held.isdisjoint(normalised(each.text) for each in parts.train.labelled)


LONG = "how long does one shift of a nurse take in this hospital on a usual working day"


def test_training_queries_close_to_a_held_out_one_go():
    train = TrainingData(pairs=(Pair(LONG + " now", "p", "a"), Pair("who pays", "p", "a")))
    held = TrainingData(pairs=(Pair(LONG, "q", "b"),))
    parts, removal = without_leaks(Split(train, held), by_words, 0.9)
    assert [pair.query for pair in parts.train.pairs] == ["who pays"]
    assert parts.held_out == held
    assert removal.count == 1
    assert removal.examples == (f"{LONG} now → p",)


def test_without_leaks_nothing_goes():
    data = Split(TrainingData(pairs=pairs_of(1)), TrainingData())
    assert without_leaks(data, by_words, 0.9)[0] == data
    assert without_leaks(data, by_words, 0.9)[1].count == 0


def test_scored_pairs_leak_in_either_order_and_only_with_both_texts():
    other = "wages are paid by the client at the end of each month of the contract"
    held = TrainingData(scored=(ScoredPair(LONG, other, 0.1, "a"),))
    swapped, half = ScoredPair(other + " now", LONG, 0.1, "b"), ScoredPair(LONG + " now", "top up", 0.1, "c")
    parts, removal = without_leaks(Split(TrainingData(scored=(swapped, half)), held), by_words, 0.9)
    assert parts.train.scored == (half,)
    assert removal.count == 1


def test_held_out_queries_search_the_corpus():
    corpus = {"d#0": "Guide\nPassage one.", "d#1": "Guide\nPassage two.", "e#0": "Passage three."}
    held = TrainingData(
        pairs=(
            Pair("first", "Guide\nPassage one.", "d"),
            Pair("First", "Passage three.", "e"),
            Pair("second", "Passage two.", "d"),
            Pair("third", "Stands nowhere.", "x"),
        ),
        corpus=corpus,
    )
    task = held_out_task(held, TrainingData(corpus=corpus))
    judged = {task.queries[name]: grades for name, grades in task.qrels.items()}
    assert judged["first"] == {"d#0": 1, "e#0": 1}
    assert judged["second"] == {"d#1": 1}
    ((added, grade),) = judged["third"].items()
    assert (task.documents[added], grade) == ("Stands nowhere.", 1)
    assert len(task.documents) == 4
    assert len(held.corpus) == 3


def test_without_a_corpus_all_positives_are_searched_and_equal_ones_count_once():
    held = TrainingData(pairs=(Pair("q", "right", "a", negatives=("wrong",)),))
    train = TrainingData(pairs=(Pair("r", "other", "b", negatives=("unseen",)), Pair("s", "Right", "c")))
    task = held_out_task(held, train)
    assert sorted(task.documents.values()) == ["other", "right", "wrong"]
    ((name, grades),) = task.qrels.items()
    assert task.queries[name] == "q"
    assert [task.documents[each] for each in grades] == ["right"]


def test_labelled_texts_search_for_their_label():
    train = TrainingData(
        labelled=tuple(LabelledText(f"{label}{n}", label) for label in "xy" for n in range(3))
    )
    held = TrainingData(labelled=(LabelledText("x9", "x"), LabelledText("z9", "z")))
    task = held_out_task(held, train)
    assert list(task.queries.values()) == ["x9"]
    (grades,) = task.qrels.values()
    assert {task.documents[each] for each in grades} == {"x0", "x1", "x2"}


def test_scored_pairs_are_judged_by_their_scores():
    held = TrainingData(scored=(ScoredPair("a", "b", 0.5, "a"), ScoredPair("c", "d", 1.0, "c")))
    assert held_out_task(held, TrainingData()) == ScoredTask(("a", "c"), ("b", "d"), (0.5, 1.0))


def test_of_many_queries_some_are_taken_evenly(monkeypatch):
    monkeypatch.setattr(splitting, "MAX_QUERIES", 5)
    task = held_out_task(TrainingData(pairs=pairs_of(10, 1)), TrainingData())
    assert list(task.queries.values()) == [f"query {n} 0" for n in (0, 2, 4, 6, 8)]
    assert len(task.documents) == 10


def test_nothing_held_out_is_told():
    with pytest.raises(InvalidInput, match="too few"):
        held_out_task(TrainingData(), TrainingData(pairs=pairs_of(1)))
