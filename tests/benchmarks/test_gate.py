import numpy as np
import pytest

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from retrieval.benchmark import RetrievalTask
from tests.benchmarks.gate import Scores, acceptance, by_bound, by_percentile, random_labels, score


def made_scores(queries: int = 200) -> Scores:
    rng = np.random.default_rng(0)
    cosines = rng.normal(0.4, 0.05, (queries, 40)).astype(np.float32)
    cosines[:, 0] += 0.1
    grades = np.zeros_like(cosines)
    grades[:, 0] = 1
    return Scores(cosines, grades)


def test_ndcg_is_that_of_the_ranking_by_cosine() -> None:
    scores = Scores(
        np.array([[0.9, 0.5, 0.7], [0.1, 0.5, 0.7]], np.float32), np.array([[1, 0, 0], [1, 0, 0]], np.float32)
    )
    assert scores.ndcg() == pytest.approx([1, 0.5])
    assert scores.ndcg(np.array([[0, 0, 0], [0.5, 0, 0]], np.float32)) == pytest.approx([1, 1 / np.log2(3)])


def test_scores_keep_the_right_documents_however_low_they_rank() -> None:
    documents = {f"d{number}": f"water boils at {number} degrees" for number in range(230)} | {
        "odd": "Hamlet"
    }
    task = RetrievalTask("test", documents, {"q": "when does water boil"}, {"q": {"odd": 2, "d1": 0}})

    found = score(task, Encoder.load(BUNDLED_ENCODER))

    assert found.cosines.shape == (1, 200)
    assert sorted(found.grades[0])[-2:] == [0, 2]
    assert found.ndcg() == pytest.approx([0])


@pytest.mark.parametrize("gain", [-0.01, 0.0, 0.03])
def test_retraining_on_paper_has_the_gain_that_was_asked_for(gain: float) -> None:
    gains = made_scores().retrained(gain, 0.02)

    assert gains.mean() == pytest.approx(gain, abs=0.002)
    assert (gains < 0).any()
    assert (gains > 0).any()


def test_larger_gains_and_more_queries_are_accepted_more_often() -> None:
    scores = made_scores()
    useless, good = (scores.retrained(gain, 0.02) for gain in (0.0, 0.03))

    assert acceptance(useless, 100, by_bound, 200) < 0.12
    assert acceptance(good, 50, by_bound, 200) < acceptance(good, 300, by_bound, 200)
    assert acceptance(good, 50, by_percentile, 50) > 0


def test_random_labels_pass_the_bound_at_times_and_the_gate_hardly_ever() -> None:
    found = random_labels(100, 400)

    assert 0 < found["by the bound alone"] < 0.08
    assert found["by the gate"] <= 0.005
