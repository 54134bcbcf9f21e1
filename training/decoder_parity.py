"""Compares an exported decoder with the torch model it came from."""

import numpy as np
import torch
from numpy.typing import NDArray

from generation.decoder import Decoder
from generation.prompt import ANSWER_SEGMENT, Prompt, PromptLayout, build_prompt
from training.decoder_data import Piece
from training.decoder_export import CachedDecoder, empty_state
from training.decoder_model import FIRST_WORD_ID, CopyDecoder

LIKELY = 1e-6  # below it a probability is a float32 sum's rounding


def largest_difference(model: CopyDecoder, decoder: Decoder, seed: int = 0) -> float:
    """Largest difference in nats between torch and ONNX over a prompt and five steps, of the likely tokens.

    torch reads prompt and answer in one pass, ONNX token by token: the cache is compared as well.
    """
    rng = np.random.default_rng(seed)
    layout = decoder.spec.layout
    prompt = random_prompt(layout, model.shape.vocabulary, rng)
    written: list[int] = []
    state = decoder.start(prompt)
    worst = _difference(state.log_probs, torch_log_probs(model, layout, prompt, written))
    words = rng.integers(FIRST_WORD_ID, model.shape.vocabulary, size=4)
    for token in (layout.passage_tokens[1], *words.tolist()):
        written.append(token)
        state = decoder.advance(state, token)
        worst = max(worst, _difference(state.log_probs, torch_log_probs(model, layout, prompt, written)))
    return worst


def torch_log_probs(
    model: CopyDecoder, layout: PromptLayout, prompt: Prompt, written: list[int]
) -> NDArray[np.float32]:
    """(vocabulary,) of the token after the prompt and what has been written, computed without a cache."""
    count = len(written)
    answer_positions = layout.answer_position + 1 + np.arange(count)
    tokens = np.concatenate([prompt.token_ids, np.asarray(written, dtype=np.int64)])
    positions = np.concatenate([prompt.positions, answer_positions])
    segments = np.concatenate([prompt.segments, np.full(count, ANSWER_SEGMENT)])
    rows = [torch.from_numpy(row[None].astype(np.int64)) for row in (tokens, positions, segments)]
    named = written[0] if written and written[0] in layout.passage_tokens else 0
    last, before_last, passage = (
        torch.tensor([[number]]) for number in (len(tokens) - 1, tokens[-2] if written else 0, named)
    )
    with torch.no_grad():
        whole = CachedDecoder(model).eval()
        log_probs, *_ = whole(*rows, last, before_last, passage, empty_state(model.shape, batch=1))
    found: NDArray[np.float32] = log_probs[0, 0].numpy()
    return found


def random_prompt(layout: PromptLayout, vocabulary: int, rng: np.random.Generator) -> Prompt:
    """A question and two passages of random words."""

    def words(count: int) -> Piece:
        ids = rng.integers(FIRST_WORD_ID, vocabulary, size=count).tolist()
        return Piece(ids, [(i, i + 1) for i in range(count)])

    return build_prompt(layout, words(8), [words(30), words(25)])


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    likely = theirs > np.log(LIKELY)
    return float(np.abs(ours[likely] - theirs[likely]).max())
