"""The decoder behind a prompt: what its first token says of the question, before a word is written."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.errors import InvalidInput
from generation.branches import Branches
from generation.decoder import Decoder
from generation.grounding import SpanCursor, answer_logit, open_cursor, passage_runs
from generation.prompt import AnswerStyle, build_prompt, encode_texts


@dataclass(frozen=True, slots=True)
class Root:
    """A passage that the answer may come from. log_prob: that its marker is written, given that the decoder
    does not refuse.
    """

    marker: int
    log_prob: float
    cursor: SpanCursor

    @property
    def number(self) -> int:
        return self.cursor.passage.tokens.number


@dataclass(frozen=True, slots=True)
class Outlook:
    """answer_logit: log odds of answering against refusing. roots: the passages with words, likeliest
    first.
    """

    branches: Branches
    roots: tuple[Root, ...]
    answer_logit: float
    passages: int
    prompt_tokens: int


def look(decoder: Decoder, question: str, passages: Sequence[str], style: AnswerStyle) -> Outlook:
    """Prefill, and weigh refusal against the passages; one without a word cannot hold the answer.

    Raises InvalidInput when none has a word, and as `build_prompt`.
    """
    layout = decoder.spec.layout
    encoded = encode_texts(decoder.tokenizer, [question, *passages])
    prompt = build_prompt(layout, encoded[0], encoded[1:], style)
    runs = passage_runs(prompt, [encoding.word_ids for encoding in encoded[1:]])
    worded = [(layout.passage_tokens[i], run) for i, run in enumerate(runs) if len(run.token_ids)]
    if not worded:
        raise InvalidInput(
            "no passage holds a word to answer with",
            field="passages",
            found="passages without words",
            expected="at least one passage with words",
        )
    state = decoder.start(prompt)
    answering = float(np.logaddexp.reduce([state.log_probs[marker] for marker, _ in worded]))
    roots = [
        Root(marker, float(state.log_probs[marker]) - answering, open_cursor(run)) for marker, run in worded
    ]
    roots.sort(key=lambda root: -root.log_prob)
    logit = answer_logit(state.log_probs, layout, len(passages))
    return Outlook(Branches(decoder, state), tuple(roots), logit, len(passages), len(prompt))
