"""What the bundled reader weighs while it answers: passages, rival answers, and each token of the chosen one.

All of it is read off the same passes that an answer takes; telling changes nothing that is chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from generation.branches import Prediction, Run
from generation.grounding import SpanCursor
from generation.outlook import Outlook
from generation.prompt import AnswerStyle
from generation.sentence_reading import LikelySentence
from generation.span_search import FoundSpan
from generation.types import Passage, Reading
from generation.written import Written

MAX_RIVALS = 8
_INSIDE = "##"


@dataclass(frozen=True, slots=True)
class WeighedPassage:
    """probability: that the answer comes from it, given that there is one; 0 to 1."""

    number: int
    probability: float


@dataclass(frozen=True, slots=True)
class RivalAnswer:
    """A span that the reader may answer with, or a sentence that its answer may begin with.

    start, end: code points in the passage. probability: of a span, that the answer is from this passage, in
    these words and ends there, given that there is one; of a sentence, its share among those that were
    weighed.
    """

    number: int
    start: int
    end: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that might have come, as the vocabulary writes it. end: that the answer ends here."""

    text: str
    logprob: float
    end: bool = False


@dataclass(frozen=True, slots=True)
class TracedToken:
    """A token of the answer.

    text: as the passage writes it, with the blanks behind it; "" for the end. logprob: among the tokens that
    go on in the passage, natural logarithm. copied: how much of its probability came from copying, 0 to 1.
    top: the likeliest of those tokens, itself perhaps among them.
    """

    text: str
    logprob: float
    copied: float
    top: tuple[Alternative, ...]
    end: bool = False


@dataclass(frozen=True, slots=True)
class ReaderTrace:
    """reading: what the reader would say if it never refused. passages, rivals: likeliest first."""

    style: AnswerStyle
    reading: Reading
    passages: tuple[WeighedPassage, ...]
    rivals: tuple[RivalAnswer, ...]
    tokens: tuple[TracedToken, ...]


def weighed_passages(outlook: Outlook) -> tuple[WeighedPassage, ...]:
    """The passages, likeliest first."""
    return tuple(WeighedPassage(root.number, math.exp(root.log_prob)) for root in outlook.roots)


def rival_sentences(likely: Sequence[LikelySentence], passages: Sequence[Passage]) -> tuple[RivalAnswer, ...]:
    """The sentences that an answer may begin with."""
    return tuple(
        RivalAnswer(each.number, *each.span, passages[each.number - 1].text[slice(*each.span)], each.share)
        for each in likely
    )


def rival_answers(spans: Sequence[FoundSpan], passages: Sequence[Passage]) -> tuple[RivalAnswer, ...]:
    """The likeliest spans of a search, each place once."""
    rivals: dict[tuple[int, int, int], RivalAnswer] = {}
    for span in spans:
        number, (start, end) = span.cursor.passage.tokens.number, span.cursor.span()
        text = passages[number - 1].text[start:end]
        probability = math.exp(min(span.log_likelihood, 0.0))
        rivals.setdefault((number, start, end), RivalAnswer(number, start, end, text, probability))
    return tuple(list(rivals.values())[:MAX_RIVALS])


def trace_tokens(
    outlook: Outlook, written: Written, text: str, tokenizer: Tokenizer, end_token: int, alternatives: int
) -> tuple[TracedToken, ...]:
    """The tokens of an answer in one more pass over it. text: of its passage."""
    root = next(root for root in outlook.roots if root.marker == written.tokens[0])
    lengths = tuple(range(1, len(written.tokens) + 1))
    (predictions,) = outlook.branches.predict([Run(written.tokens, lengths)])
    steps = list(zip((*written.tokens[1:], end_token), predictions, strict=True))
    if written.finish == "length":
        del steps[-1]
    told = _Telling(tokenizer, end_token, alternatives)
    cursor, traced, ends = root.cursor, [], []
    for token, prediction in steps:
        traced.append(told.token(token, prediction, cursor))
        if token != end_token:
            cursor = cursor.advance(token, prediction.copy_probs)
            if not len(cursor.ends):
                break
            ends.append(cursor)
    return tuple(_with_texts(traced, ends, written, text))


class _Telling:
    """Tokens in the words of the vocabulary."""

    def __init__(self, tokenizer: Tokenizer, end_token: int, alternatives: int) -> None:
        self._tokenizer = tokenizer
        self._end_token = end_token
        self._alternatives = alternatives

    def token(self, token: int, prediction: Prediction, cursor: SpanCursor) -> TracedToken:
        """One that was written behind the cursor."""
        allowed = np.union1d(cursor.allowed(self._end_token), [token])
        scores = _normalised(prediction.log_probs[allowed])
        order = np.argsort(-scores, kind="stable")[: self._alternatives]
        top = tuple(self._alternative(int(allowed[i]), float(scores[i])) for i in order)
        own = float(scores[np.searchsorted(allowed, token)])
        return TracedToken("", own, _copied(token, prediction, cursor), top, token == self._end_token)

    def _alternative(self, token: int, logprob: float) -> Alternative:
        if token == self._end_token:
            return Alternative("", logprob, end=True)
        piece = self._tokenizer.id_to_token(token) or ""
        return Alternative(piece.removeprefix(_INSIDE), logprob)


def _normalised(log_probs: NDArray[np.float32]) -> NDArray[np.float64]:
    scores = log_probs.astype(np.float64)
    return np.asarray(scores - np.logaddexp.reduce(scores))


def _copied(token: int, prediction: Prediction, cursor: SpanCursor) -> float:
    """The share of a token's probability that came from copying it from its passage."""
    ids, first = cursor.passage.token_ids, cursor.passage.tokens.first
    places = first + np.flatnonzero(ids == token)
    mass = float(prediction.copy_probs[places].sum())
    return min(1.0, mass / max(math.exp(float(prediction.log_probs[token])), 1e-30))


def _with_texts(
    traced: Sequence[TracedToken], cursors: Sequence[SpanCursor], written: Written, text: str
) -> list[TracedToken]:
    """Each token with the stretch of the passage up to the next one."""
    count = len(cursors)
    if not count:
        return list(traced)
    offsets = cursors[-1].passage.tokens.offsets
    first = int(np.searchsorted(offsets[:, 0], written.start))
    starts = [int(start) for start in offsets[first : first + count, 0]]
    ends = [*starts[1:], written.end]
    texts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    texts += [""] * (len(traced) - len(texts))
    return [
        TracedToken(shown, token.logprob, token.copied, token.top, token.end)
        for shown, token in zip(texts, traced, strict=True)
    ]
