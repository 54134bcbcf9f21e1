"""The best span of the passages, by the likelihood of whole answers: passage, words and end.

Best first over the tree of all spans, several paths a pass: a path's likelihood only falls as it grows, so
once no open path is likelier than the best finished span, that one is the likeliest of all (uniform-cost
search: Hart, Nilsson and Raphael, 1968). Of the likeliest spans the answer is the one that shares most words
with the others, by their likelihoods: the least expected loss (Kumar and Byrne, HLT-NAACL 2004).

Answerable F1 with refusal off, on squad/dev (760) and nq_gold/dev (378): greedy .711 and .643, the likeliest
span .719 and .633, this .718 and .649 (weights of November 2026, before they were trained anew).
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from generation.branches import Branches, Prediction, Run
from generation.confidence import MAX_MARGIN
from generation.grounding import SpanCursor
from generation.outlook import Outlook, Root
from generation.written import Written

MAX_COMPARED = 10  # spans that the answer is chosen from


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """How far a search goes.

    width: paths that are read in one pass. passes: at most; the best span found by then is taken. children:
    ways on from a path that are kept. lookahead: tokens that a path is read on for in advance, because most
    answers go on as the passage does behind their likeliest place.
    """

    width: int = 4
    passes: int = 24
    children: int = 16
    lookahead: int = 2


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A span that the decoder may answer with.

    log_likelihood: in nats, of naming its passage, writing it and ending. ended: False where the longest
    length allowed cut it off; its likelihood is then without an end.
    """

    tokens: tuple[int, ...]
    cursor: SpanCursor
    log_likelihood: float
    ended: bool


@dataclass(frozen=True, slots=True, order=True)
class _Path:
    """A beginning of an answer. cost: log-likelihood, negated. tokens: the passage's marker first.

    before: the cursor in front of the last token; copy_probs: where that was copied from; None for a marker.
    """

    cost: float
    tokens: tuple[int, ...]
    before: SpanCursor = field(compare=False)
    copy_probs: NDArray[np.float32] | None = field(compare=False)

    def cursor(self) -> SpanCursor:
        if self.copy_probs is None:
            return self.before
        return self.before.advance(self.tokens[-1], self.copy_probs)


def search_span(
    outlook: Outlook, end_token: int, longest: int, cancelled: Callable[[], bool], limits: SearchLimits
) -> Written | None:
    """The best span of at most `longest` tokens; None when cancelled, which is asked before each pass."""
    search = SpanSearch(outlook.branches, end_token, longest, limits)
    if not search.run(outlook.roots, cancelled):
        return None
    return best_answer(search)


def best_answer(search: "SpanSearch") -> Written:
    """What a search that has run answers with."""
    best = choose_span(search.spans)
    return Written(
        tokens=best.tokens,
        number=best.cursor.passage.tokens.number,
        start=best.cursor.span()[0],
        end=best.cursor.span()[1],
        log_likelihood=best.log_likelihood,
        margin=search.margin(best),
        finish="stop" if best.ended else "length",
    )


def choose_span(spans: Sequence[FoundSpan]) -> FoundSpan:
    """The span whose words overlap most (F1) with those of the likeliest spans, each by its probability.

    spans: likeliest first. The same words in two passages speak for each other.
    """
    compared = spans[:MAX_COMPARED]
    weights = np.exp([span.log_likelihood - compared[0].log_likelihood for span in compared])
    words = [Counter(span.tokens[1:]) for span in compared]
    agreement = np.asarray([[_overlap(one, other) for other in words] for one in words]) @ weights
    return compared[int(agreement.argmax())]


def _overlap(one: Counter[int], other: Counter[int]) -> float:
    return 2 * (one & other).total() / (one.total() + other.total())


class SpanSearch:
    """One search behind one prompt. spans: what it found, likeliest first."""

    def __init__(self, branches: Branches, end_token: int, longest: int, limits: SearchLimits) -> None:
        """longest: tokens of a span, at most."""
        self._branches = branches
        self._end = end_token
        self._longest = longest
        self._limits = limits
        self._open: list[_Path] = []
        self._bound = math.inf  # the cost of the best span so far: no path beyond it can become better
        self.spans: list[FoundSpan] = []

    def run(self, roots: Sequence[Root], cancelled: Callable[[], bool]) -> bool:
        """Search all passages. False when cancelled."""
        self._open = [_Path(-root.log_prob, (root.marker,), root.cursor, None) for root in roots]
        heapq.heapify(self._open)
        for _ in range(self._limits.passes):
            paths = self._next_paths()
            if not paths:
                break
            if cancelled():
                return False
            self._read(paths)
        if not self.spans:  # not even one word came to its end
            path = max(self._open, key=lambda each: (len(each.tokens), -each.cost))
            self._add(FoundSpan(path.tokens, path.cursor(), -path.cost, ended=False))
        self.spans.sort(key=lambda span: -span.log_likelihood)
        return True

    def margin(self, best: FoundSpan) -> float:
        """How many nats the likeliest answer that stands elsewhere is less likely than the best; at least so
        many where the search did not follow it to its end. 0 where it is likelier.
        """
        rivals = [span.log_likelihood for span in self.spans if _apart(span.cursor, best.cursor)]
        for path in sorted(self._open):
            if _apart(path.cursor(), best.cursor):
                rivals.append(-path.cost)
                break
        return min(max(best.log_likelihood - max(rivals, default=-math.inf), 0.0), MAX_MARGIN)

    def _next_paths(self) -> list[_Path]:
        paths: list[_Path] = []
        while self._open and len(paths) < self._limits.width and self._open[0].cost < self._bound:
            paths.append(heapq.heappop(self._open))
        return paths

    def _read(self, paths: Sequence[_Path]) -> None:
        cursors = [path.cursor() for path in paths]
        runs = [self._run_for(path, cursor) for path, cursor in zip(paths, cursors, strict=True)]
        predictions = self._branches.predict(runs)
        for path, cursor, (prediction,) in zip(paths, cursors, predictions, strict=True):
            self._follow(path, cursor, prediction)

    def _run_for(self, path: _Path, cursor: SpanCursor) -> Run:
        """Behind a marker the answer may begin anywhere: nothing to read ahead."""
        count = min(self._limits.lookahead, self._longest - cursor.length)
        ahead = cursor.following(count) if cursor.length else ()
        return Run(path.tokens, (len(path.tokens),), ahead)

    def _follow(self, path: _Path, cursor: SpanCursor, prediction: Prediction) -> None:
        """Take the end behind a path as a span, and keep its likeliest ways on."""
        allowed = cursor.allowed(self._end)
        costs = path.cost - prediction.log_probs[allowed].astype(np.float64)
        likeliest = np.argsort(costs, kind="stable")[: self._limits.children]
        for i in dict.fromkeys([*likeliest, *np.flatnonzero(allowed == self._end)]):
            way = _Path(float(costs[i]), (*path.tokens, int(allowed[i])), cursor, prediction.copy_probs)
            if way.tokens[-1] == self._end:
                self._add(FoundSpan(path.tokens, cursor, -way.cost, ended=True))
            elif cursor.length + 1 < self._longest:
                heapq.heappush(self._open, way)
            else:
                self._add(FoundSpan(way.tokens, way.cursor(), -way.cost, ended=False))

    def _add(self, span: FoundSpan) -> None:
        self.spans.append(span)
        self._bound = min(self._bound, -span.log_likelihood)


def _apart(one: SpanCursor, other: SpanCursor) -> bool:
    """Whether two runs stand in different places, without a character in common."""
    if one.passage.tokens.number != other.passage.tokens.number:
        return True
    (start, end), (other_start, other_end) = one.span(), other.span()
    return start < end and (end <= other_start or other_end <= start)
