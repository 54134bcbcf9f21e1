import numpy as np
import pytest
import torch

from generation.prompt import ANSWER_SEGMENT
from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_decoder
from training.decoder_export import CachedDecoder, empty_state, joint_log_probs
from training.decoder_model import PAD_SEGMENT, attention_mask, copy_context
from training.decoder_parity import random_prompt, torch_log_probs


def test_mask_lets_passages_see_the_question_and_themselves_only() -> None:
    segments = torch.tensor([[0, 1, 1, 2, ANSWER_SEGMENT, ANSWER_SEGMENT, PAD_SEGMENT]])
    seen = attention_mask(segments, segments, 0)[0, 0].int().tolist()
    assert seen[0] == [1, 1, 1, 1, 0, 0, 0]
    assert seen[1] == seen[2] == [1, 1, 1, 0, 0, 0, 0]
    assert seen[3] == [1, 0, 0, 1, 0, 0, 0]
    assert seen[4] == [1, 1, 1, 1, 1, 0, 0]
    assert seen[5] == [1, 1, 1, 1, 1, 1, 0]


def test_mask_of_later_tokens_is_the_lower_part_of_the_whole() -> None:
    segments = torch.tensor([[0, 1, 2, ANSWER_SEGMENT, ANSWER_SEGMENT]])
    whole = attention_mask(segments, segments, 0)
    assert torch.equal(attention_mask(segments[:, 3:], segments, 3), whole[:, :, 3:])


def test_branches_see_the_trunk_and_themselves() -> None:
    branches = [ANSWER_SEGMENT + 1, ANSWER_SEGMENT + 2, ANSWER_SEGMENT + 1]
    segments = torch.tensor([[0, 1, ANSWER_SEGMENT, *branches]])
    seen = attention_mask(segments, segments, 0)[0, 0].int().tolist()
    assert seen[2] == [1, 1, 1, 0, 0, 0]
    assert seen[3] == [1, 1, 1, 1, 0, 0]
    assert seen[4] == [1, 1, 1, 0, 1, 0]
    assert seen[5] == [1, 1, 1, 1, 0, 1]


def test_copy_context_marks_places_after_the_same_words() -> None:
    tokens = torch.tensor([[1, 2001, 2002, 2003, 2002, 10, 2001, 2002]])
    segments = torch.tensor([[1, 1, 1, 1, 1, ANSWER_SEGMENT, ANSWER_SEGMENT, ANSWER_SEGMENT]])
    context = copy_context(tokens, segments, torch.tensor([[7]]), torch.tensor([[2001]]), torch.tensor([[1]]))
    assert context.bigram[0, 0].nonzero().flatten().tolist() == [3, 5]
    assert context.trigram[0, 0].nonzero().flatten().tolist() == [3]
    assert context.copyable[0].tolist() == [True] * 5 + [False] * 3


def test_joint_probabilities_sum_to_one_and_add_up_equal_tokens() -> None:
    torch.manual_seed(0)
    written, copied = torch.randn(1, 1, 6), torch.randn(1, 1, 3)
    log_probs, copy_probs = joint_log_probs(written, copied, torch.tensor([[4, 2, 4]]))
    weights = torch.cat([written, copied], dim=-1).softmax(-1)[0, 0]
    assert log_probs.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    assert log_probs.exp()[0, 0, 4].item() == pytest.approx(
        (weights[4] + weights[6] + weights[8]).item(), abs=1e-6
    )
    assert copy_probs.sum().item() == pytest.approx(weights[6:].sum().item(), abs=1e-6)


def test_reading_token_by_token_equals_reading_at_once() -> None:
    torch.manual_seed(0)
    model = tiny_decoder()
    prompt = random_prompt(TINY_LAYOUT, model.shape.vocabulary, np.random.default_rng(3))
    cached = CachedDecoder(model).eval()
    answer = [TINY_LAYOUT.passage_tokens[1], 1001, 1005]
    rows = [torch.from_numpy(row[None]) for row in (prompt.token_ids, prompt.positions, prompt.segments)]
    with torch.no_grad():
        nothing = torch.tensor([[0]])
        last = torch.tensor([[len(prompt) - 1]])
        log_probs, _, *state = cached(*rows, last, nothing, nothing, empty_state(model.shape, 1))
        for index, token in enumerate(answer):
            expected = torch_log_probs(model, TINY_LAYOUT, prompt, answer[:index])
            np.testing.assert_allclose(log_probs[0, 0].numpy(), expected, atol=1e-5)
            position = torch.tensor([[TINY_LAYOUT.answer_position + 1 + index]])
            segment = torch.tensor([[ANSWER_SEGMENT]])
            before = torch.tensor([[int(prompt.token_ids[-1]) if index == 0 else answer[index - 1]]])
            named = torch.tensor([[answer[0]]])
            step = (torch.tensor([[token]]), position, segment, nothing, before, named, state)
            log_probs, _, *state = cached(*step)


def test_a_passage_reads_the_same_whatever_stands_before_it() -> None:
    """Positions start anew, and passages do not see each other."""
    torch.manual_seed(0)
    model = tiny_decoder()
    first = torch.tensor([[0, 0, 1, 1, 2, 2]])
    tokens = torch.tensor([[101, 1001, 1002, 1003, 1004, 1005]])
    positions = torch.tensor([[0, 1, 2, 3, 2, 3]])
    swapped = tokens[:, [0, 1, 4, 5, 2, 3]]
    with torch.no_grad():
        mask = attention_mask(first, first, 0)
        states, _ = model.encode(tokens, positions, first, mask, None)
        others, _ = model.encode(swapped, positions, first, mask, None)
    torch.testing.assert_close(states[:, 2:4], others[:, 4:6], atol=1e-5, rtol=1e-4)
