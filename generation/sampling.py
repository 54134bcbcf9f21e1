"""What one request asks of the decoder, and where an answer stops."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from embeddings.errors import InvalidInput

MAX_TOKENS_LIMIT = 32_768
MAX_STOP_SEQUENCES = 16
MAX_LOGPROBS = 20
MAX_LOGIT_BIASES = 1024
MAX_CHOICES = 64
ANSWER_TOKENS = 160  # of an answer from passages, by default: room for three sentences
_FILTERS = ("top_k", "top_p", "min_p", "typical_p")


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """The strategy of one request; the default is greedy, and every other field is off.

    temperature: 0 is greedy; above 0 divides the log-probabilities before sampling, at most 2.
    top_k: keep the k most probable tokens; 0 is off. top_p: keep the smallest set with at least this mass; 1
    is off. seed: of the request's own random generator; None draws a fresh one. max_tokens: decode at most
    this many. stop: texts that end the answer and are not part of it.
    min_p: keep tokens at least this share of the most probable one's probability; 0 is off. typical_p: keep
    the tokens whose surprise is nearest the distribution's entropy, up to this mass; 1 is off.
    repetition_penalty: of every token of prompt and answer; 1 is off. presence_penalty, frequency_penalty: of
    the tokens of the answer, once and for each time; 0 is off. no_repeat_ngram: no run of this many tokens
    comes twice in prompt and answer; 0 is off. logit_bias: (token id, what is added to its logit).
    logprobs: how many alternatives are told with the log-probability of each token; None tells neither.
    n: answers; with beams, the best hypotheses. beams: hypotheses that beam search carries; 1 is off.
    length_penalty: exponent of a hypothesis's length in its score; 0 does not divide, above 0 favours long
    ones. ignore_eos: go on after the end token, up to max_tokens.
    Raises InvalidInput for a value out of range, naming its field, and for beams together with sampling.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    n: int = 1
    beams: int = 1
    length_penalty: float = 1.0
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        for field, valid, expected in (*self._sampling_rules(), *self._penalty_rules(), *self._count_rules()):
            if not valid:
                raise _out_of_range(field, getattr(self, field), expected)
        if self.beams > 1:
            self._check_beams()

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def filtered(self) -> bool:
        """True when some tokens are struck out before a draw."""
        return any(self._changed(field) for field in _FILTERS)

    @property
    def penalised(self) -> bool:
        """True when the choice depends on the tokens that came before."""
        return (
            self.repetition_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
            or self.no_repeat_ngram > 0
        )

    def generator(self, sample: int = 0) -> np.random.Generator:
        """The random generator of one of the request's samples; the same seed and number give the same."""
        entropy = None if self.seed is None else [self.seed, sample]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def check_token_ids(self, vocabulary_size: int) -> None:
        """Raises InvalidInput when logit_bias names a token that the vocabulary does not hold."""
        unknown = [token_id for token_id, _ in self.logit_bias if token_id >= vocabulary_size]
        if unknown:
            raise _out_of_range("logit_bias", f"token {unknown[0]}", f"token ids below {vocabulary_size}")

    def refuse(self, unhonoured: Sequence[str], decoder: str) -> None:
        """Raises InvalidInput when a field of `unhonoured` is on: the decoder named cannot do it."""
        for field in unhonoured:
            if self._changed(field):
                found = str(getattr(self, field))
                raise InvalidInput(
                    f"{decoder} cannot honour {field} ({found})",
                    field=field,
                    found=found,
                    expected="the default",
                    next_step=f"leave {field} out, or use a causal decoder",
                )

    def _changed(self, field: str) -> bool:
        return bool(getattr(self, field) != _DEFAULTS[field])

    def _sampling_rules(self) -> Iterator[tuple[str, bool, str]]:
        yield "temperature", 0.0 <= self.temperature <= 2.0, "a number from 0 to 2"
        yield "top_k", self.top_k >= 0, "a whole number, 0 (off) or above"
        yield "top_p", 0.0 < self.top_p <= 1.0, "a number above 0, at most 1 (off)"
        yield "min_p", 0.0 <= self.min_p <= 1.0, "a number from 0 (off) to 1"
        yield "typical_p", 0.0 < self.typical_p <= 1.0, "a number above 0, at most 1 (off)"
        yield "seed", self.seed is None or 0 <= self.seed < 2**63, "a whole number from 0 to 2^63 - 1"

    def _penalty_rules(self) -> Iterator[tuple[str, bool, str]]:
        yield "repetition_penalty", 0.0 < self.repetition_penalty <= 10.0, "a number above 0, at most 10"
        yield "presence_penalty", -2.0 <= self.presence_penalty <= 2.0, "a number from -2 to 2"
        yield "frequency_penalty", -2.0 <= self.frequency_penalty <= 2.0, "a number from -2 to 2"
        yield "no_repeat_ngram", self.no_repeat_ngram >= 0, "a whole number, 0 (off) or above"
        biases_valid = len(self.logit_bias) <= MAX_LOGIT_BIASES and all(
            token_id >= 0 and -100.0 <= bias <= 100.0 for token_id, bias in self.logit_bias
        )
        yield "logit_bias", biases_valid, f"at most {MAX_LOGIT_BIASES} token ids with a bias from -100 to 100"
        yield "length_penalty", -10.0 <= self.length_penalty <= 10.0, "a number from -10 to 10"

    def _count_rules(self) -> Iterator[tuple[str, bool, str]]:
        in_range = 1 <= self.max_tokens <= MAX_TOKENS_LIMIT
        yield "max_tokens", in_range, f"a whole number from 1 to {MAX_TOKENS_LIMIT}"
        stop_valid = len(self.stop) <= MAX_STOP_SEQUENCES and "" not in self.stop
        yield "stop", stop_valid, f"at most {MAX_STOP_SEQUENCES} texts, none of them empty"
        logprobs_valid = self.logprobs is None or 0 <= self.logprobs <= MAX_LOGPROBS
        yield "logprobs", logprobs_valid, f"a whole number from 0 to {MAX_LOGPROBS}, or none"
        yield "n", 1 <= self.n <= MAX_CHOICES, f"a whole number from 1 to {MAX_CHOICES}"
        yield "beams", 1 <= self.beams <= MAX_CHOICES, f"a whole number from 1 (off) to {MAX_CHOICES}"

    def _check_beams(self) -> None:
        """Beam search looks for the most probable answer, so it has no use for a random draw."""
        if self.n > self.beams:
            raise _out_of_range("n", self.n, f"at most the {self.beams} beams")
        for field in ("temperature", *_FILTERS):
            if self._changed(field):
                raise _out_of_range(
                    field, getattr(self, field), "the default with beams, which do not sample"
                )


_DEFAULTS = {field.name: field.default for field in fields(SamplingSettings)}


def _out_of_range(field: str, found: object, expected: str) -> InvalidInput:
    shown = f"{list(found) if isinstance(found, tuple) else found}"[:200]
    return InvalidInput(
        f"{field} is {shown}, expected {expected}", field=field, found=shown, expected=expected
    )


class StopMatcher:
    """Cuts a stream of text before the first stop sequence, however the pieces fall.

    Text that may be the beginning of a stop sequence is held back until it is known, so that no part of one
    is ever streamed. Of several sequences the one that is complete first counts.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Take the next piece of text and return what may be streamed now; nothing once stopped."""
        if self.stopped:
            return ""
        self._held += piece
        found = [(start + len(stop), start) for stop in self._stop if (start := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found)[1], forget=True)
        return self._release(len(self._held) - self._partial_length())

    def flush(self) -> str:
        """Return what is held back, at the end of the text."""
        return self._release(len(self._held))

    def _partial_length(self) -> int:
        """Length of the longest end of the held text that begins a stop sequence."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0

    def _release(self, length: int, *, forget: bool = False) -> str:
        released, rest = self._held[:length], self._held[length:]
        self._held = "" if forget else rest
        return released
