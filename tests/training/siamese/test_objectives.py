import pytest
import torch

from embeddings.errors import InvalidInput
from tests.training.siamese.model_fixtures import encoder, labelled, pairs, scored, triplets
from training.siamese.batches import Batches, Tokeniser, collate
from training.siamese.cpu_training import fast_training
from training.siamese.examples import BY_LABEL, TRIPLETS, examples_for
from training.siamese.objectives import choose_objective, make_loss
from training.siamese.plan import OBJECTIVES, Objective
from training.siamese.types import ScoredPair, TrainingData


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (TrainingData(pairs=pairs()), "MultipleNegativesRanking", "40 pairs"),
        (triplets(), "MultipleNegativesRanking", "given negatives"),
        (scored(), "CoSENT", "120 scored pairs"),
        (labelled(), "BatchAllTriplet", "40 labelled texts"),
        (
            TrainingData(scored=(ScoredPair("a", "b", 1.0, "g"), ScoredPair("a", "c", 0.0, "g"))),
            "OnlineContrastive",
            "0 or 1",
        ),
    ],
)
def test_shape_of_the_data_decides_and_the_choice_says_why(
    data: TrainingData, name: str, reason: str
) -> None:
    choice = choose_objective(data)
    assert choice.name == name
    assert reason in choice.why


def test_no_examples_are_no_choice() -> None:
    with pytest.raises(InvalidInput, match="no examples"):
        choose_objective(TrainingData())


def data_for(name: str) -> TrainingData:
    if name in BY_LABEL:
        return labelled()
    return scored() if name in ("CosineSimilarity", "CoSENT", "AnglE") else triplets()


def loss_of(name: str, **settings: object) -> tuple[float, float]:
    """Loss of one batch and the length of its gradient."""
    model = encoder().eval()
    examples = examples_for(name, data_for(name), 1)
    indices = Batches(name, examples, 16, 1).epoch(0)[0]
    batch = collate(name, [examples[index] for index in indices], Tokeniser(model, 64))
    guide = encoder().eval() if name == "GIST" else None
    loss = make_loss(model, Objective(name=name, **settings), guide)
    with fast_training(model, "fp32"):
        value = loss(batch.columns, batch.labels)
        value.backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    return float(value.detach()), float(torch.stack([each.norm() for each in gradients]).norm())


@pytest.mark.parametrize("dimensions", [(), (8, 16)])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_learns_from_a_batch_with_and_without_matryoshka(
    name: str, dimensions: tuple[int, ...]
) -> None:
    loss, gradient = loss_of(name, matryoshka_dimensions=dimensions)
    assert loss > 0
    assert 0 < gradient < 1e4


@pytest.mark.parametrize("name", [*BY_LABEL[:2], BY_LABEL[3], TRIPLETS[0], "Contrastive"])
def test_margins_fit_unit_vectors_and_can_be_set(name: str) -> None:
    assert loss_of(name)[0] < loss_of(name, margin=1.9)[0]
    assert loss_of(name)[0] < 2  # not the 5 that unit vectors can never be apart


def test_cached_ranking_gives_the_gradients_of_the_plain_one() -> None:
    plain, cached = (loss_of(name) for name in ("MultipleNegativesRanking", "CachedMultipleNegativesRanking"))
    assert plain == pytest.approx(cached, rel=1e-4)


def test_matryoshka_adds_the_loss_of_the_cut_vectors_to_that_of_the_whole() -> None:
    assert loss_of("CoSENT", matryoshka_dimensions=(8,))[0] > loss_of("CoSENT")[0]
    with pytest.raises(InvalidInput, match="larger than the vectors"):
        loss_of("CoSENT", matryoshka_dimensions=(1000,))


def test_guide_and_name_are_asked_for() -> None:
    with pytest.raises(InvalidInput, match="needs a guide"):
        make_loss(encoder(), Objective(name="GIST"))
    with pytest.raises(InvalidInput, match="unknown objective"):
        make_loss(encoder(), Objective(name="Softmax"))
