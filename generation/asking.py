"""Questions about a passage, written by the bundled decoder: synthetic queries to train and evaluate with."""

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from generation.branches import Branches, Run
from generation.candidates import choose_token, most_probable
from generation.decoder import Decoder
from generation.grounding import mask_except
from generation.prompt import build_prompt, encode_texts
from generation.reader import UNHONOURED
from generation.sampling import SamplingSettings
from generation.word_pieces import join_pieces, writable_ids

MAX_AT_ONCE = 8  # questions written side by side
_MARK = "?"


def ask_questions(
    decoder: Decoder,
    passage: str,
    answers: Sequence[str] | None,
    count: int,
    sampling: SamplingSettings,
) -> list[str]:
    """At most `count` different questions about a passage, each ending in a question mark.

    answers: texts that the questions are to ask for, taken in turn; None leaves the choice to the decoder.
    sampling: greedy begins each question about the same answer with another word, likeliest first; above
    temperature 0 each is drawn. A question that does not end within max_tokens is left out.
    Raises InvalidInput when the passage has no words or is too long to be read whole, an answer is empty or
    too long, count is below 1, and as `SamplingSettings.refuse`.
    """
    sampling.refuse(UNHONOURED, "the bundled decoder")
    if count < 1:
        raise InvalidInput(f"count is {count}", field="count", found=str(count), expected="at least 1")
    hints = _hint_ids(decoder, answers)
    share = -(-count // len(hints))
    asked = [
        _ask(decoder, passage, hint, range(i * share, (i + 1) * share), sampling)
        for i, hint in enumerate(hints)
    ]
    in_turn = (text for text in chain.from_iterable(zip_longest(*asked)) if text and _has_words(text))
    return list({text.casefold(): text for text in in_turn}.values())[:count]


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


class _Hint:
    """An encoded answer, or none; what `build_prompt` reads of it."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)
        self.offsets: list[tuple[int, int]] = []


def _hint_ids(decoder: Decoder, answers: Sequence[str] | None) -> list[_Hint]:
    if answers is None:
        return [_Hint(())]
    most = decoder.spec.layout.max_question_tokens
    encoded = encode_texts(decoder.tokenizer, answers)
    for answer, encoding in zip(answers, encoded, strict=True):
        if not 1 <= len(encoding.ids) <= most:
            raise InvalidInput(
                f"an answer of {len(encoding.ids)} tokens cannot be asked for: {answer[:60]!r}",
                field="answers",
                found=f"{len(encoding.ids)} tokens",
                expected=f"1 to {most} tokens",
            )
    if not encoded:
        raise InvalidInput("no answers given", field="answers", found="0", expected="at least one, or null")
    return [_Hint(encoding.ids) for encoding in encoded]


def _ask(
    decoder: Decoder, passage: str, hint: _Hint, samples: range, sampling: SamplingSettings
) -> list[str]:
    """samples: numbers of the questions, which give each its own random generator."""
    (encoded,) = encode_texts(decoder.tokenizer, [passage])
    prompt = build_prompt(decoder.spec.layout, hint, [encoded], "question")
    (placed,) = prompt.passages
    if not len(placed.offsets) or placed.truncated:
        raise InvalidInput(
            f"a passage of {len(encoded.ids)} tokens cannot be asked about",
            field="passage",
            found=f"{len(encoded.ids)} tokens",
            expected=f"1 to {len(placed.offsets)} tokens" if placed.truncated else "a text with words",
            next_step="ask about parts of it" if placed.truncated else None,
        )
    state = decoder.start(prompt)
    written: list[tuple[int, ...]] = []
    for first in range(samples.start, samples.stop, MAX_AT_ONCE):
        at_once = samples[first - samples.start :][:MAX_AT_ONCE]
        written += _Writer(decoder, Branches(decoder, state), sampling).write(at_once, first - samples.start)
    return [join_pieces(decoder.tokenizer, ids, passage, _MARK) for ids in written]


class _Writer:
    """Writes some questions side by side."""

    def __init__(self, decoder: Decoder, branches: Branches, sampling: SamplingSettings) -> None:
        layout = decoder.spec.layout
        self._branches = branches
        self._sampling = sampling
        self._mark = decoder.tokenizer.token_to_id(_MARK)
        self._end = layout.end
        self._words = writable_ids(decoder.tokenizer)
        self._allowed = np.append(self._words, layout.end)
        self._longest = min(sampling.max_tokens, layout.max_question_tokens, layout.max_answer_tokens - 1)

    def write(self, samples: range, skipped: int) -> Iterator[tuple[int, ...]]:
        """Yield the questions that came to an end, without it. skipped: first words already taken."""
        generators = [self._sampling.generator(sample) for sample in samples]
        going: dict[int, tuple[int, ...]] = {
            i: (token,) for i, token in enumerate(self._first_tokens(generators, skipped))
        }
        for _ in range(self._longest):
            if not going:
                return
            predicted = self._branches.predict([Run(run, (len(run),)) for run in going.values()])
            for i, (prediction,) in zip(list(going), predicted, strict=True):
                token = self._choose(prediction.log_probs, generators[i])
                going[i] = (*going[i], token)
                if token in (self._end, self._mark):
                    yield going.pop(i)[:-1]

    def _first_tokens(self, generators: Sequence[np.random.Generator], skipped: int) -> list[int]:
        opening = mask_except(self._branches.first.log_probs, self._words)
        if not self._sampling.greedy:
            return [choose_token(opening, self._sampling, rng) for rng in generators]
        return [int(token) for token in most_probable(opening, skipped + len(generators))[skipped:]]

    def _choose(self, log_probs: NDArray[np.float32], rng: np.random.Generator) -> int:
        return choose_token(mask_except(log_probs, self._allowed), self._sampling, rng)
