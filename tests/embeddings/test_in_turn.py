"""Who encodes elsewhere has to run the batches that the engine runs: they decide a vector's last bits."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.engine import EncoderEngine, Lane
from embeddings.errors import InvalidInput
from embeddings.in_turn import embed_in_turn
from embeddings.tokens import Keep, TokenIds, TokenizedText


class Recorder:
    """An encoder whose vector of a text tells the text's first token; it notes what runs together."""

    dimension = 2
    max_tokens = 40

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> list[TokenizedText]:
        if prompt == "unknown":
            raise InvalidInput("the model has no prompt 'unknown'")
        ids = [np.asarray([int(word) for word in text.split()], np.int32) for text in texts]
        return [TokenizedText(each[: self.max_tokens], len(each)) for each in ids]

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        self.batches.append(tuple(int(ids[0]) for ids in batch))
        return np.asarray([[ids[0], len(ids)] for ids in batch], np.float32)


def texts(count: int) -> list[str]:
    return [" ".join([str(number)] * (1 + number * 7 % 53)) for number in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 700])
def test_batches_and_answers_are_those_of_an_engine_with_one_client(workers: int, count: int) -> None:
    engine = EncoderEngine(there := Recorder(), workers)
    expected = engine.submit(texts(count), prompt="passage", lane=Lane.BULK).result()
    engine.close()
    found = embed_in_turn(here := Recorder(), texts(count), "passage", "start", workers)
    assert sorted(here.batches) == sorted(there.batches)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert found.token_counts == expected.token_counts
    assert found.truncated == expected.truncated
    assert any(found.truncated) == (count > 5)


def test_no_texts_give_no_vectors() -> None:
    found = embed_in_turn(Recorder(), [], "passage", "start", 2)
    assert found.vectors.shape == (0, 2)
    assert found.token_counts == ()


def test_unknown_prompt_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown"):
        embed_in_turn(Recorder(), ["1"], "unknown", "start", 1)
