"""A question and its numbered passages as the token layout that the bundled decoder was trained on.

    [CLS] question [SEP] [P1] passage 1 [SEP] [P2] passage 2 [SEP] ... [BEGIN]
        ->   [Pk] answer tokens [SEP] [ACCEPT]   or   [REFUSE]

The [BEGIN] token says what is wanted: a span, whole sentences, or a question about the passages (whose
prompt starts with [ASK], and holds the answer asked for, or nothing, in the question's place). Behind the
end of an answer the decoder gives its verdict on it: [ACCEPT] or [REFUSE].

Positions start anew after the question for each passage, so a passage is read the same whatever stands
before it, and the position table bounds one passage instead of the whole prompt. The segment ids tell the
graph who may see whom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from embeddings.errors import InvalidInput

QUESTION_SEGMENT = 0
# Segments above this one are branches: answers written side by side that do not see each other.
ANSWER_SEGMENT = 100

AnswerStyle = Literal["span", "sentences", "question"]


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """Token ids and limits that a decoder's manifest fixes. Limits are in tokens.

    passage_tokens: marker ids [P1], [P2], ...; their number bounds the passages of one prompt.
    begin, begin_sentences, begin_question: what stands behind the passages, by the style of the answer;
    ask: stands in place of `start` where a question is to be written. accept, refuse: the verdict on an
    answer; `refuse` alone is a refusal. answer_position: position id of the begin token; question and
    passage stay below it.
    """

    start: int
    separator: int
    begin: int
    begin_sentences: int
    begin_question: int
    ask: int
    refuse: int
    accept: int
    passage_tokens: tuple[int, ...]
    answer_position: int
    max_question_tokens: int
    max_answer_tokens: int

    @property
    def end(self) -> int:
        """The token that ends an answer; the same one separates the parts of a prompt."""
        return self.separator

    def begin_token(self, style: AnswerStyle) -> int:
        """The token that an answer of this style follows."""
        tokens = {"span": self.begin, "sentences": self.begin_sentences, "question": self.begin_question}
        return tokens[style]


class Tokens(Protocol):
    """An encoded text: token ids and the code points that each covers."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]: ...


@dataclass(frozen=True, slots=True)
class PassageTokens:
    """Where one passage stands in a prompt.

    first: index of its first text token in the prompt; offsets: (n, 2) code points of each token in the
    passage's text;
    truncated: whether the passage's end did not fit.
    """

    number: int
    first: int
    offsets: NDArray[np.int32]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, ready for a decoder. token_ids, segments, positions: (length,) int64."""

    token_ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    positions: NDArray[np.int64]
    passages: tuple[PassageTokens, ...]

    def __len__(self) -> int:
        return len(self.token_ids)


def build_prompt(
    layout: PromptLayout, question: Tokens, passages: Sequence[Tokens], style: AnswerStyle = "span"
) -> Prompt:
    """Lay out an encoded question and passages (encoded without special tokens), the begin token included.

    For style "question" the question's place holds the answer to ask for, which may be empty.

    Raises InvalidInput when the question is longer than the layout allows or there are more passages than
    markers.
    """
    _check_fit(layout, len(question.ids), len(passages))
    start = layout.ask if style == "question" else layout.start
    head = [start, *question.ids, layout.separator]
    ids = list(head)
    segments = [QUESTION_SEGMENT] * len(head)
    positions = list(range(len(head)))
    room = layout.answer_position - len(head) - 2  # marker and separator stand around the text
    placed: list[PassageTokens] = []
    for number, passage in enumerate(passages, start=1):
        kept = passage.ids[:room]
        offsets = np.asarray(passage.offsets[:room], dtype=np.int32).reshape(-1, 2)
        placed.append(PassageTokens(number, len(ids) + 1, offsets, len(passage.ids) > room))
        ids += [layout.passage_tokens[number - 1], *kept, layout.separator]
        segments += [number] * (len(kept) + 2)
        positions += range(len(head), len(head) + len(kept) + 2)
    return Prompt(
        np.asarray([*ids, layout.begin_token(style)], dtype=np.int64),
        np.asarray([*segments, ANSWER_SEGMENT], dtype=np.int64),
        np.asarray([*positions, layout.answer_position], dtype=np.int64),
        tuple(placed),
    )


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
    """Encode texts without special tokens; offsets are code points."""
    return list(tokenizer.encode_batch(list(texts), add_special_tokens=False))


def _check_fit(layout: PromptLayout, question_tokens: int, passages: int) -> None:
    if question_tokens > layout.max_question_tokens:
        raise InvalidInput(
            f"the question has {question_tokens} tokens, the decoder reads {layout.max_question_tokens}",
            field="question",
            found=f"{question_tokens} tokens",
            expected=f"at most {layout.max_question_tokens} tokens",
            next_step="ask a shorter question",
        )
    if not 1 <= passages <= len(layout.passage_tokens):
        raise InvalidInput(
            f"{passages} passages given, the decoder reads 1 to {len(layout.passage_tokens)}",
            field="passages",
            found=str(passages),
            expected=f"1 to {len(layout.passage_tokens)}",
        )
