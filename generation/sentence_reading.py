"""Whole sentences of one passage as the answer: the decoder chooses where they begin and how many they are.

Inside a sentence every token is forced, so it is read in one pass. What tells one sentence from the others is
weighed: its passage, its first tokens, and behind each sentence whether the answer ends or goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from generation.branches import Branches, Prediction, Run
from generation.candidates import choose_token
from generation.confidence import MAX_MARGIN
from generation.outlook import Outlook, Root
from generation.sampling import SamplingSettings
from generation.sentences import Span, split_sentences
from generation.types import Passage
from generation.written import Written

MAX_SENTENCES = 3
FIRST_TOKENS = 4  # of a sentence: what tells it from the others, and all that training looks at
MAX_PASSAGES = 3
MAX_CANDIDATES = 6
# With these a line of Markdown begins that is a row of a table or a heading, and no answer by itself.
ROW_MARKS = ("|", "#")
PASSAGE_ODDS = 20.0  # passages that are so many times less likely than the likeliest are left out


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence of a passage. index: among those of the passage; first: index of its first token there; row:
    of a table, or a heading.
    """

    root: Root
    index: int
    first: int
    tokens: tuple[int, ...]
    span: Span
    row: bool

    def place(self) -> int:
        """Of its first token in the prompt."""
        return self.root.cursor.passage.tokens.first + self.first


@dataclass(frozen=True, slots=True)
class _Candidate:
    sentence: _Sentence
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class LikelySentence:
    """A sentence that an answer may begin with. share: of the probability of all that were weighed."""

    number: int
    span: Span
    share: float


def likely_sentences(outlook: Outlook, passages: Sequence[Passage], longest: int) -> list[LikelySentence]:
    """The sentences that `write_sentences` chooses its first one from, likeliest first."""
    roots = _likely_roots(outlook.roots)
    sentences = {root.number: _sentences(root, passages[root.number - 1].text) for root in roots}
    candidates = _weigh(outlook.branches, _likely_starts(outlook.branches, roots, sentences, longest))
    scores = np.asarray([candidate.log_likelihood for candidate in candidates])
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    told = [
        LikelySentence(each.sentence.root.number, each.sentence.span, float(share))
        for each, share in zip(candidates, shares, strict=True)
    ]
    return sorted(told, key=lambda each: -each.share)


def write_sentences(
    outlook: Outlook,
    passages: Sequence[Passage],
    end_token: int,
    longest: int,
    sampling: SamplingSettings,
    cancelled: Callable[[], bool],
) -> Written | None:
    """One to three consecutive sentences of at most `longest` tokens together, the likeliest or, above
    temperature 0, drawn; None when cancelled, which is asked before each pass.

    Where not even one sentence fits, a beginning of it is the answer, with the finish "length".
    """
    rng = sampling.generator()
    roots = _likely_roots(outlook.roots)
    sentences = {root.number: _sentences(root, passages[root.number - 1].text) for root in roots}
    if cancelled():
        return None
    starts = _likely_starts(outlook.branches, roots, sentences, longest)
    if cancelled():
        return None
    candidates = _weigh(outlook.branches, starts)
    scores = np.asarray([candidate.log_likelihood for candidate in candidates], dtype=np.float32)
    chosen = candidates[choose_token(scores, sampling, rng)]
    listed = sentences[chosen.sentence.root.number]
    answer = _Answer(outlook.branches, chosen, listed, end_token, longest)
    while not answer.finished:
        if cancelled():
            return None
        answer.go_on(sampling, rng)
    return answer.written(candidates)


class _Answer:
    """The sentences written so far."""

    def __init__(
        self, branches: Branches, begun: _Candidate, listed: Sequence[_Sentence], end_token: int, longest: int
    ) -> None:
        """listed: the sentences of the passage that the answer comes from."""
        self._branches = branches
        self._listed = listed
        self._end_token = end_token
        self._longest = longest
        self._log_likelihood = begun.log_likelihood
        self._taken = [begun.sentence]
        self._cut = len(begun.sentence.tokens) > longest
        self.finished = self._cut

    def go_on(self, sampling: SamplingSettings, rng: np.random.Generator) -> None:
        """Read to the end of the last sentence, and end there or take the next one."""
        prediction = self._branches.behind(self._tokens())
        following = self._listed[self._taken[-1].index + 1 :][:1]
        if not following or following[0].row or len(self._taken) == MAX_SENTENCES:
            self.finished = True
            return
        ways = prediction.log_probs[[self._end_token, following[0].tokens[0]]].astype(np.float64)
        ways -= np.logaddexp.reduce(ways)
        way = choose_token(ways.astype(np.float32), sampling, rng)
        self._log_likelihood += float(ways[way])
        self._cut = way == 1 and len(self._tokens()) - 1 + len(following[0].tokens) > self._longest
        self.finished = way == 0 or self._cut
        if not self.finished:
            self._taken.append(following[0])

    def written(self, candidates: Sequence[_Candidate]) -> Written:
        """candidates: all that the answer might have begun with."""
        passage = self._taken[0].root.cursor.passage.tokens
        tokens = self._tokens()
        start, end = self._taken[0].span[0], self._taken[-1].span[1]
        if len(self._taken[0].tokens) > self._longest:
            end = int(passage.offsets[self._taken[0].first + self._longest - 1, 1])
        return Written(
            tokens=tokens,
            number=passage.number,
            start=start,
            end=end,
            log_likelihood=self._log_likelihood,
            margin=self._margin(candidates),
            finish="length" if self._cut else "stop",
            sentences=len(self._taken),
        )

    def _tokens(self) -> tuple[int, ...]:
        words = [token for sentence in self._taken for token in sentence.tokens]
        return (self._taken[0].root.marker, *words[: self._longest])

    def _margin(self, candidates: Sequence[_Candidate]) -> float:
        begun = next(each for each in candidates if each.sentence is self._taken[0])
        rivals = [each.log_likelihood for each in candidates if each.sentence not in self._taken]
        gap = begun.log_likelihood - max(rivals) if rivals else MAX_MARGIN
        return min(max(gap, 0.0), MAX_MARGIN)


def _likely_roots(roots: Sequence[Root]) -> list[Root]:
    """roots: likeliest first."""
    floor = roots[0].log_prob - np.log(PASSAGE_ODDS)
    return [root for root in roots[:MAX_PASSAGES] if root.log_prob >= floor]


def _sentences(root: Root, text: str) -> list[_Sentence]:
    """The sentences that stand whole in the prompt; the cut one where there is no other."""
    offsets, ids = root.cursor.passage.tokens.offsets, root.cursor.passage.token_ids
    found: list[_Sentence] = []
    for start, end in split_sentences(text):
        inside = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start))
        if len(inside):
            first, last = int(inside[0]), int(inside[-1]) + 1
            span = (start, end if last < len(ids) else int(offsets[-1, 1]))
            row = text.startswith(ROW_MARKS, start)
            found.append(_Sentence(root, len(found), first, tuple(ids[first:last].tolist()), span, row))
    return found[:-1] if root.cursor.passage.tokens.truncated and len(found) > 1 else found


def _likely_starts(
    branches: Branches, roots: Sequence[Root], sentences: dict[int, list[_Sentence]], longest: int
) -> list[_Sentence]:
    """The sentences whose first tokens the decoder would copy first, likeliest first; rows of tables where
    there is nothing else.
    """
    predictions = branches.predict([Run((root.marker,), (1,)) for root in roots])
    scored = [
        (root.log_prob + float(np.log(behind.copy_probs[sentence.place()] + 1e-30)), sentence)
        for root, (behind,) in zip(roots, predictions, strict=True)
        for sentence in sentences[root.number]
    ]
    prose = [each for each in scored if not each[1].row] or scored
    fitting = [each for each in prose if len(each[1].tokens) <= longest] or prose
    fitting.sort(key=lambda each: -each[0])
    return [sentence for _, sentence in fitting[:MAX_CANDIDATES]]


def _weigh(branches: Branches, sentences: Sequence[_Sentence]) -> list[_Candidate]:
    """The candidates with the log-likelihood of passage and first tokens."""
    runs = []
    for sentence in sentences:
        head = (sentence.root.marker, *sentence.tokens[: FIRST_TOKENS - 1])
        runs.append(Run(head, tuple(range(1, len(head) + 1))))
    weighed = zip(sentences, branches.predict(runs), strict=True)
    return [_Candidate(each, each.root.log_prob + sum(_head(each, rows))) for each, rows in weighed]


def _head(sentence: _Sentence, predictions: Sequence[Prediction]) -> Iterator[float]:
    """Log-probabilities of the first tokens."""
    for token, prediction in zip(sentence.tokens, predictions, strict=False):
        yield float(prediction.log_probs[token])
