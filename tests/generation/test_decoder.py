import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embeddings.artifact import MANIFEST, WEIGHTS
from embeddings.errors import ModelDamaged
from generation.decoder import BranchTokens, Decoder, DecoderState
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
    assert state.written == {0: (1001,)}
    assert state.past["tokens"].numpy().tolist() == [[*prompt.token_ids.tolist(), 1001]]


def _one_by_one(decoder: Decoder, prompt: Prompt, tokens: tuple[int, ...]) -> list[DecoderState]:
    states = [decoder.start(prompt)]
    for token in tokens:
        states.append(decoder.advance(states[-1], token))
    return states[1:]


def test_branches_side_by_side_predict_what_each_alone_would(decoder: Decoder, prompt: Prompt) -> None:
    answers = [(1, 1003, 1004), (2, 1003), (1, 1010, 1011, 1012)]
    state = decoder.start(prompt)
    together = decoder.extend(state, [BranchTokens(i, answer) for i, answer in enumerate(answers, start=1)])
    for i, answer in enumerate(answers):
        alone = _one_by_one(decoder, prompt, answer)[-1]
        np.testing.assert_allclose(together.rows[i], alone.log_probs, atol=1e-4)
        np.testing.assert_allclose(
            together.copy_rows[i, : len(prompt)], alone.copy_probs[: len(prompt)], atol=1e-5
        )


def test_a_branch_goes_on_pass_after_pass_beside_others(decoder: Decoder, prompt: Prompt) -> None:
    first = decoder.extend(decoder.start(prompt), [BranchTokens(1, (1, 1003)), BranchTokens(2, (2,))])
    second = decoder.extend(first, [BranchTokens(2, (1005, 1006)), BranchTokens(1, (1004,))])
    assert second.written == {1: (1, 1003, 1004), 2: (2, 1005, 1006)}
    for row, answer in zip(second.rows, [(2, 1005, 1006), (1, 1003, 1004)], strict=True):
        np.testing.assert_allclose(row, _one_by_one(decoder, prompt, answer)[-1].log_probs, atol=1e-4)


def test_branches_see_the_trunk(decoder: Decoder, prompt: Prompt) -> None:
    trunk = decoder.advance(decoder.start(prompt), 2)
    state = decoder.extend(trunk, [BranchTokens(1, (1003, 1004)), BranchTokens(2, (1005,))])
    for row, answer in zip(state.rows, [(2, 1003, 1004), (2, 1005)], strict=True):
        np.testing.assert_allclose(row, _one_by_one(decoder, prompt, answer)[-1].log_probs, atol=1e-4)


def test_one_pass_predicts_behind_each_token_that_is_asked_for(decoder: Decoder, prompt: Prompt) -> None:
    answer = (1, 1003, 1004, 1005)
    state = decoder.extend(decoder.start(prompt), [BranchTokens(1, answer, (0, 2, -1))])
    steps = _one_by_one(decoder, prompt, answer)
    for row, step in zip(state.rows, [steps[0], steps[2], steps[3]], strict=True):
        np.testing.assert_allclose(row, step.log_probs, atol=1e-4)


def test_the_trunk_cannot_grow_under_its_branches(decoder: Decoder, prompt: Prompt) -> None:
    state = decoder.extend(decoder.start(prompt), [BranchTokens(1, (1, 1003))])
    with pytest.raises(ValueError, match="trunk"):
        decoder.advance(state, 1003)


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
