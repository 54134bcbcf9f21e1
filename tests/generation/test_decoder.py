import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embeddings.artifact import MANIFEST, WEIGHTS
from embeddings.errors import ModelDamaged
from generation.decoder import Decoder
from generation.prompt import Prompt
from tests.training.decoder_fixtures import TINY_LAYOUT, TINY_SHAPE
from training.decoder_parity import random_prompt


@pytest.fixture
def prompt() -> Prompt:
    return random_prompt(TINY_LAYOUT, TINY_SHAPE.vocabulary, np.random.default_rng(0))


def test_next_token_probabilities_sum_to_one(decoder: Decoder, prompt: Prompt) -> None:
    state = decoder.start(prompt)
    assert state.log_probs.shape == (TINY_SHAPE.vocabulary,)
    assert np.exp(state.log_probs).sum() == pytest.approx(1.0, abs=1e-5)
    assert state.copy_probs.shape == (len(prompt),)


def test_one_state_continues_in_several_ways(decoder: Decoder, prompt: Prompt) -> None:
    start = decoder.start(prompt)
    first = decoder.advance(start, 1001)
    other = decoder.advance(start, 1002)
    again = decoder.advance(start, 1001)
    np.testing.assert_array_equal(first.log_probs, again.log_probs)
    assert not np.allclose(first.log_probs, other.log_probs)


def test_state_grows_by_one_token_a_step(decoder: Decoder, prompt: Prompt) -> None:
    state = decoder.advance(decoder.start(prompt), 1001)
    assert state.answer_length == 2
    assert state.past["tokens"].numpy().tolist() == [[*prompt.token_ids.tolist(), 1001]]


def test_altered_weights_are_refused(tiny_artifact: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny_artifact, tmp_path / "broken"))
    content = bytearray((broken / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (broken / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelDamaged, match=WEIGHTS):
        Decoder.load(broken, threads=1)


def test_unknown_kind_of_prompt_is_refused(tiny_artifact: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_artifact, tmp_path / "other"))
    manifest = msgspec.json.decode((other / MANIFEST).read_bytes())
    manifest["graph"]["prompt"] = "chunked"
    (other / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ModelDamaged, match="'chunked', expected 'whole'"):
        Decoder.load(other, threads=1)
