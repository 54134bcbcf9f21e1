import os
import subprocess
import sys

import pytest

from embeddings.errors import InvalidInput
from tests.training.siamese.model_fixtures import labelled, pairs, scored, triplets
from training.siamese.examples import BINARY, BY_LABEL, SCORING, TRIPLETS, examples_for
from training.siamese.plan import OBJECTIVES
from training.siamese.types import LabelledText, Pair, ScoredPair, TrainingData

PAIRS = TrainingData(pairs=pairs())
FITTING = {
    "ranking": (PAIRS, triplets(), labelled()),
    "triplets": (triplets(),),
    "scores": (scored(), triplets(), labelled()),
    "labels": (labelled(),),
}
KIND = {
    **dict.fromkeys(OBJECTIVES, "ranking"),
    **dict.fromkeys(TRIPLETS, "triplets"),
    **dict.fromkeys((*SCORING, *BINARY), "scores"),
    **dict.fromkeys(BY_LABEL, "labels"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_takes_its_shapes_and_names_them_for_others(name: str) -> None:
    fitting = FITTING[KIND[name]]
    for data in (PAIRS, triplets(), scored(), labelled()):
        if any(data is each or data == each for each in fitting):
            assert examples_for(name, data, seed=1)
        else:
            with pytest.raises(InvalidInput, match=f"{name} has nothing to learn") as error:
                examples_for(name, data, seed=1)
            assert error.value.field == "objective.name"
            assert error.value.expected


def test_negatives_become_scored_pairs_where_a_loss_wants_scores() -> None:
    data = TrainingData(pairs=(Pair("q", "p", "g", negatives=("n", "m")),))
    found = {(each.texts, each.label) for each in examples_for("CoSENT", data, seed=1)}
    assert found == {(("q", "p"), 1.0), (("q", "n"), 0.0), (("q", "m"), 0.0)}


def test_each_negative_is_a_triplet_of_its_own() -> None:
    data = TrainingData(pairs=(Pair("q", "p", "g", negatives=("n", "m")), Pair("r", "s", "h")))
    assert [each.texts for each in examples_for("Triplet", data, 1)] == [("q", "p", "n"), ("q", "p", "m")]


def test_scores_are_halved_into_yes_and_no_where_a_loss_knows_but_these() -> None:
    data = TrainingData(
        scored=tuple(ScoredPair("a", str(score), score, "g") for score in (0.0, 0.49, 0.5, 1.0))
    )
    assert [each.label for each in examples_for("Contrastive", data, 1)] == [0, 0, 1, 1]
    assert [each.label for each in examples_for("CosineSimilarity", data, 1)] == [0.0, 0.49, 0.5, 1.0]


def test_a_given_negative_that_is_right_elsewhere_for_the_query_is_left_out() -> None:
    data = TrainingData(pairs=(Pair("q", "p", "g", negatives=("o", "n")), Pair("q", "o", "g")))
    first = examples_for("MultipleNegativesRanking", data, 1)[0]
    assert first.negatives == ("n",)
    assert first.known == {"p", "o"}


def test_labelled_texts_are_paired_within_and_across_classes() -> None:
    data = labelled()
    label = {each.text: each.label for each in data.labelled}
    for each in examples_for("OnlineContrastive", data, 1):
        first, second = each.texts
        assert first != second
        assert (label[first] == label[second]) == (each.label == 1.0)
    for each in examples_for("MultipleNegativesRanking", data, 1):
        assert each.texts[1] in each.known
        assert {label[text] for text in each.known} == {label[each.texts[0]]}


def test_drawn_pairs_follow_the_seed() -> None:
    drawn = [examples_for("CoSENT", labelled(), seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_one_class_alone_teaches_nothing() -> None:
    data = TrainingData(labelled=(LabelledText("a", "x"), LabelledText("b", "x")))
    for name in (*BY_LABEL, "CoSENT"):
        with pytest.raises(InvalidInput):
            examples_for(name, data, 1)


def test_examples_are_described_alike_in_every_process() -> None:
    code = (
        "from training.siamese.examples import described, examples_for;"
        "from training.siamese.types import *;"
        "data = TrainingData(pairs=tuple(Pair('q', f'p{n}', 'g', negatives=('x', 'y')) for n in range(20)));"
        "print(*described(examples_for('GIST', data, 1)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop()) > 100
