"""How likely the bundled decoder holds given answers to a question about passages."""

from collections.abc import Sequence

import numpy as np

from embeddings.errors import InvalidInput
from generation.decoder import Decoder, DecoderState
from generation.prompt import build_prompt, encode_texts
from generation.text_score import TextScore


def score_answers(
    decoder: Decoder, question: str, passages: Sequence[str], answers: Sequence[str]
) -> list[TextScore]:
    """Score answers, each with its end, given the question and the passages; the prompt is read once.

    A token's probability is that of writing it and of copying it together. An answer may come from any
    passage: its probability is the sum over the markers that it can begin with, so a decoder that would
    refuse holds every answer unlikely. tokens: those of the answer and the end, not the marker.
    Raises InvalidInput for an answer without tokens or too long a one, and as `build_prompt`.
    """
    encoded = encode_texts(decoder.tokenizer, [question, *passages])
    rows = [encoding.ids for encoding in encode_texts(decoder.tokenizer, answers)]
    for row, answer in zip(rows, answers, strict=True):
        _check_answer(row, answer, decoder.spec.layout.max_answer_tokens - 1)
    state = decoder.start(build_prompt(decoder.spec.layout, encoded[0], encoded[1:]))
    markers = decoder.spec.layout.passage_tokens[: len(passages)]
    begun = [(float(state.log_probs[marker]), decoder.advance(state, marker)) for marker in markers]
    return [_score(decoder, begun, row, answer) for row, answer in zip(rows, answers, strict=True)]


def _check_answer(token_ids: Sequence[int], answer: str, most: int) -> None:
    """most: tokens of an answer, which the marker and the end stand around."""
    if not 1 <= len(token_ids) <= most:
        raise InvalidInput(
            f"an answer of {len(token_ids)} tokens cannot be scored: {answer[:60]!r}",
            field="answers",
            found=f"{len(token_ids)} tokens",
            expected=f"1 to {most} tokens",
        )


def _score(
    decoder: Decoder, begun: Sequence[tuple[float, DecoderState]], token_ids: Sequence[int], answer: str
) -> TextScore:
    """begun: of each passage the marker's log-probability and the state behind it."""
    paths = [_follow(decoder, state, token_ids) for _, state in begun]
    totals = np.asarray([marker + logprob for (marker, _), (logprob, _) in zip(begun, paths, strict=True)])
    greedy = paths[int(totals.argmax())][1]
    logprob = float(np.logaddexp.reduce(totals))
    return TextScore(logprob, len(token_ids) + 1, len(answer.encode()), len(answer), greedy)


def _follow(decoder: Decoder, state: DecoderState, token_ids: Sequence[int]) -> tuple[float, bool]:
    """Log-probability of the tokens and the end, and whether each was the likeliest."""
    logprob, greedy = 0.0, True
    for token_id in token_ids:
        logprob += float(state.log_probs[token_id])
        greedy = greedy and token_id == int(state.log_probs.argmax())
        state = decoder.advance(state, token_id)
    end = decoder.spec.layout.end
    return logprob + float(state.log_probs[end]), greedy and end == int(state.log_probs.argmax())
