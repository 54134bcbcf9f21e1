"""A prompt within a budget of tokens: what does not fit is left out, in a fixed order, and told."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from embeddings.errors import InvalidInput
from generation.causal.chat import ChatMessage
from generation.causal.prompt_template import PromptExample, PromptTemplate, fill
from generation.sentences import split_sentences
from generation.types import Passage

CountTokens = Callable[[str], int]

# What chat templates put around a turn: marks, the role's name, line breaks.
MESSAGE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation for a decoder.

    passages: those that it shows, the last one perhaps cut short. dropped_passages, dropped_examples: that
    found no room. cut: whether the last passage lost its end.
    """

    messages: tuple[ChatMessage, ...]
    passages: tuple[Passage, ...]
    dropped_passages: int = 0
    dropped_examples: int = 0
    cut: bool = False


def build_chat_prompt(
    template: PromptTemplate,
    question: str,
    passages: Sequence[Passage],
    budget_tokens: int,
    count_tokens: CountTokens,
) -> ChatPrompt:
    """The conversation that asks the question, in at most `budget_tokens`.

    When it is too long, examples go first, the last one before the others; then passages, from the last one
    on, of which the first to go keeps as many whole sentences as there is room for. Raises InvalidInput with
    the field "question" when not even the first passage finds room.
    """
    system = fill(template.system, {"not_found": template.not_found})
    fixed = sum(count_tokens(text) + MESSAGE_TOKENS for text in (system, template.question + question))
    shown = [_show(template, passage) for passage in passages]
    needed = fixed + MESSAGE_TOKENS + sum(map(count_tokens, shown))
    examples = [_example_turns(template, example) for example in template.examples]
    costs = [sum(count_tokens(turn.content) + MESSAGE_TOKENS for turn in turns) for turns in examples]
    kept = bisect_right(list(accumulate(costs)), budget_tokens - needed)
    room = budget_tokens - fixed - MESSAGE_TOKENS
    fitting = passages if kept or needed <= budget_tokens else _fit(template, passages, room, count_tokens)
    if passages and not fitting:
        raise _no_room(question, fixed, budget_tokens)
    turn = _ask(template, question, [_show(template, passage) for passage in fitting])
    turns = (turn for turns in examples[:kept] for turn in turns)
    opening = (ChatMessage("system", system),) if system.strip() else ()
    return ChatPrompt(
        (*opening, *turns, turn),
        tuple(fitting),
        len(passages) - len(fitting),
        len(examples) - kept,
        bool(fitting) and fitting[-1] != passages[len(fitting) - 1],
    )


def _fit(
    template: PromptTemplate, passages: Sequence[Passage], room: int, count_tokens: CountTokens
) -> list[Passage]:
    """The passages that fit, and of the next one its first sentences."""
    fitting: list[Passage] = []
    for passage in passages:
        cost = count_tokens(_show(template, passage))
        if cost > room:
            cut = _cut(template, passage, room, count_tokens)
            return fitting if cut is None else [*fitting, cut]
        fitting.append(passage)
        room -= cost
    return fitting


def _cut(template: PromptTemplate, passage: Passage, room: int, count_tokens: CountTokens) -> Passage | None:
    """The passage up to the end of the last sentence that fits; None when none does."""
    ends = [end for _, end in split_sentences(passage.text)]
    fits = bisect_right(
        ends, room, key=lambda end: count_tokens(_show(template, replace(passage, text=passage.text[:end])))
    )
    return replace(passage, text=passage.text[: ends[fits - 1]]) if fits else None


def _show(template: PromptTemplate, passage: Passage) -> str:
    values = {"number": str(passage.number), "text": passage.text, "title": passage.title or ""}
    return fill(template.passage, values)


def _ask(template: PromptTemplate, question: str, shown: Sequence[str]) -> ChatMessage:
    values = {"passages": "\n".join(shown), "question": question}
    return ChatMessage("user", fill(template.question, values))


def _example_turns(template: PromptTemplate, example: PromptExample) -> tuple[ChatMessage, ChatMessage]:
    passages = [Passage(number, text) for number, text in enumerate(example.passages, start=1)]
    answer = fill(example.answer, {"not_found": template.not_found})
    asked = _ask(template, example.question, [_show(template, passage) for passage in passages])
    return asked, ChatMessage("assistant", answer)


def _no_room(question: str, fixed: int, budget_tokens: int) -> InvalidInput:
    return InvalidInput(
        f"the question and its prompt take {fixed} tokens, which leaves no room for a passage",
        field="question",
        found=f"{len(question)} characters, with the prompt {fixed} tokens",
        expected=f"room for a passage within {budget_tokens} tokens",
        next_step="ask a shorter question, or allow fewer tokens for the answer",
    )
