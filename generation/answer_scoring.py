"""How likely the bundled decoder holds given answers to a question about passages."""

from collections.abc import Iterator, Sequence

import numpy as np

from embeddings.errors import InvalidInput
from generation.branches import Branches, Prediction, Run
from generation.decoder import Decoder
from generation.prompt import build_prompt, encode_texts
from generation.text_score import TextScore

_RUNS_AT_ONCE = 4  # each of their tokens is predicted: about 0.1 MB of probabilities a token


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
    rows = [tuple(encoding.ids) for encoding in encode_texts(decoder.tokenizer, answers)]
    for row, answer in zip(rows, answers, strict=True):
        _check_answer(row, answer, decoder.spec.layout.max_answer_tokens - 2)
    start = decoder.start(build_prompt(decoder.spec.layout, encoded[0], encoded[1:]))
    markers = decoder.spec.layout.passage_tokens[: len(passages)]
    opening = {marker: float(start.log_probs[marker]) for marker in markers}
    runs = [(marker, *row) for row in rows for marker in markers]
    paths = [
        (opening[run[0]] + logprob, greedy)
        for run, predictions in _predict(Branches(decoder, start), runs)
        for logprob, greedy in [_follow((*run[1:], decoder.spec.layout.end), predictions)]
    ]
    groups = (paths[i : i + len(markers)] for i in range(0, len(paths), len(markers)))
    return [
        _score(group, len(row) + 1, answer) for group, row, answer in zip(groups, rows, answers, strict=True)
    ]


def _check_answer(token_ids: Sequence[int], answer: str, most: int) -> None:
    """most: tokens of an answer, which the marker and the end stand around."""
    if not 1 <= len(token_ids) <= most:
        raise InvalidInput(
            f"an answer of {len(token_ids)} tokens cannot be scored: {answer[:60]!r}",
            field="answers",
            found=f"{len(token_ids)} tokens",
            expected=f"1 to {most} tokens",
        )


def _predict(
    branches: Branches, runs: Sequence[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], list[Prediction]]]:
    """Each run with the predictions behind every one of its tokens."""
    for first in range(0, len(runs), _RUNS_AT_ONCE):
        chunk = runs[first : first + _RUNS_AT_ONCE]
        predicted = branches.predict([Run(run, tuple(range(1, len(run) + 1))) for run in chunk])
        yield from zip(chunk, predicted, strict=True)


def _follow(token_ids: Sequence[int], predictions: Sequence[Prediction]) -> tuple[float, bool]:
    """Log-probability of the tokens, and whether each was the likeliest."""
    logprob, greedy = 0.0, True
    for token_id, prediction in zip(token_ids, predictions, strict=True):
        logprob += float(prediction.log_probs[token_id])
        greedy = greedy and token_id == int(prediction.log_probs.argmax())
    return logprob, greedy


def _score(paths: Sequence[tuple[float, bool]], tokens: int, answer: str) -> TextScore:
    """paths: log-probability and greediness of the answer from each passage."""
    totals = np.asarray([logprob for logprob, _ in paths])
    logprob = float(np.logaddexp.reduce(totals))
    return TextScore(logprob, tokens, len(answer.encode()), len(answer), paths[int(totals.argmax())][1])
