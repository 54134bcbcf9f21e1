import random

import numpy as np
import pytest

from tests.training.siamese.model_fixtures import encoder, labelled, pairs
from training.siamese.batches import Batches, Tokeniser, collate, without_conflicts
from training.siamese.examples import Example, examples_for
from training.siamese.types import Pair, TrainingData

RANKED = "MultipleNegativesRanking"


def ranked(*found: tuple[str, str]) -> list[Example]:
    data = TrainingData(pairs=tuple(Pair(query, passage, passage) for query, passage in found))
    return examples_for(RANKED, data, 1)


def test_no_batch_has_a_passage_that_is_right_for_another_query_of_it() -> None:
    rng = random.Random(1)
    examples = ranked(*dict.fromkeys((f"q{rng.randrange(30)}", f"p{rng.randrange(40)}") for _ in range(200)))
    batches = list(without_conflicts(range(len(examples)), examples, 8))
    assert sorted(index for batch in batches for index in batch) == list(range(len(examples)))
    for batch in batches:
        inside = [examples[index] for index in batch]
        for each in inside:
            others = {other.texts[1] for other in inside if other is not each}
            assert not others & each.known
    assert sum(len(batch) for batch in batches) / len(batches) > 4  # of 8


def test_all_pairs_of_one_query_end_in_batches_of_their_own() -> None:
    examples = ranked(*(("q", f"p{number}") for number in range(5)))
    assert [len(batch) for batch in without_conflicts(range(5), examples, 8)] == [1] * 5


def test_an_epochs_order_follows_from_the_seed_and_its_number() -> None:
    examples = ranked(*((f"q{number}", f"p{number}") for number in range(50)))
    batches = [Batches(RANKED, examples, 8, seed) for seed in (1, 1, 2)]
    assert batches[0].epoch(3) == batches[1].epoch(3)
    assert batches[0].epoch(3) != batches[2].epoch(3)
    assert batches[0].epoch(3) != batches[0].epoch(4)


def test_batches_of_the_losses_by_class_hold_mates_and_strangers() -> None:
    examples = examples_for("BatchAllTriplet", labelled(), 1)
    batches = Batches("BatchAllTriplet", examples, 12, 1).epoch(0)
    assert batches
    for batch in batches:
        labels = [examples[index].label for index in batch]
        assert len(batch) <= 12
        assert len(set(labels)) > 1
        assert all(labels.count(label) > 1 for label in labels)


def test_padded_batches_hold_texts_of_about_one_length() -> None:
    rng = random.Random(1)
    lengths = [rng.randrange(5, 250) for _ in range(640)]
    examples = [Example((f"a{number}", f"b{number}"), float(number % 2)) for number in range(640)]
    batches = Batches("CoSENT", examples, 8, 1, lengths).epoch(0)
    waste = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches) / sum(lengths)
    assert waste < 1.15
    first = [lengths[batch[0]] for batch in batches]
    assert first != sorted(first)


def test_negatives_share_a_column_without_what_is_right_in_the_batch() -> None:
    model = encoder()
    data = TrainingData(
        pairs=(
            Pair(
                "how engines work", "engines turn", "1", negatives=("rivers flow", "bees fly", "clocks tick")
            ),
            Pair("how rivers flow", "rivers flow", "2", negatives=("bees fly",)),
            Pair("how bread grows", "bread grows", "3"),
        )
    )
    tokeniser = Tokeniser(model, 64)
    batch = collate(RANKED, examples_for(RANKED, data, 1), tokeniser)
    ends = [column["cu_seq_lens_q"].tolist() for column in batch.columns]
    assert [len(each) - 1 for each in ends] == [3, 3, 2]
    negatives = batch.columns[2]["input_ids"][0].split(np.diff(ends[2]).tolist())
    expected = tokeniser.rows(["bees fly", "clocks tick"], 1)
    assert [row.tolist() for row in negatives] == [row.tolist() for row in expected]
    assert batch.tokens == sum(each[-1] for each in ends)
    assert batch.rows == 3


def test_columns_without_negatives_are_two() -> None:
    found = collate(
        RANKED, examples_for(RANKED, TrainingData(pairs=pairs()), 1)[:4], Tokeniser(encoder(), 64)
    )
    assert len(found.columns) == 2


def test_texts_are_cut_and_carry_the_models_prompts() -> None:
    model = encoder()
    model.prompts = {"query": "engines ", "passage": "rivers "}
    tokeniser = Tokeniser(model, 8)
    query, passage = (tokeniser.rows(["bees " * 30], column)[0] for column in (0, 1))
    assert len(query) == 8
    plain = model.tokenizer("engines " + "bees " * 30, truncation=True, max_length=8)["input_ids"]
    assert query.tolist() == plain
    assert passage.tolist() != query.tolist()


@pytest.mark.parametrize("size", [3, 64])
def test_every_example_is_met_once_an_epoch(size: int) -> None:
    examples = ranked(*((f"q{number}", f"p{number}") for number in range(50)))
    met = [index for batch in Batches(RANKED, examples, size, 1).epoch(0) for index in batch]
    assert sorted(met) == list(range(50))
