"""A follow-up question as one that stands by itself, so that it can be searched.

"And how deep?" finds nothing; "How deep are peas sown?" does. A decoder that chats is shown the conversation
as a text, not as turns of its own, and some examples (question rewriting, Elgohary et al., EMNLP 2019; with
examples in the prompt, Ye et al., Findings of EMNLP 2023).
"""

import re
from collections.abc import Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Literal

import msgspec

from embeddings.errors import InvalidInput
from generation.causal.chat import ChatMessage, ChatModel, ChoiceDone, TextDelta
from generation.causal.prompt_template import PROMPTS, fill
from generation.causal.prompting import MESSAGE_TOKENS
from generation.sampling import SamplingSettings
from generation.scripts import Language, language_of

REWRITE_TOKENS = 128  # of the question that is written
# What came earlier says little about a follow-up, and costs its prefill each time.
MAX_TURNS = 12
MAX_TURN_CHARS = 600
# What chat templates write of their own before the first turn.
_TEMPLATE_TOKENS = 64
_THOUGHT = re.compile(r"\s*<think>.*?(</think>|\Z)", re.DOTALL)
_QUOTES = (("“", "”"), ('"', '"'), ("«", "»"), ("「", "」"), ("'", "'"))


class ExampleTurn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of an example."""

    role: Literal["user", "assistant"]
    content: str


class RewriteExample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation, its last question, and how that is asked by itself."""

    conversation: tuple[ExampleTurn, ...]
    question: str
    standalone: str


class RewritePrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The texts around a conversation. user, assistant: how a turn is shown, with {text}; question: what is
    asked, with {conversation} and {question}.
    """

    name: str
    system: str
    user: str
    assistant: str
    question: str
    examples: tuple[RewriteExample, ...] = ()


@lru_cache
def rewrite_prompt(language: Language) -> RewritePrompt:
    """The prompt that comes with Footnote for a language."""
    path = PROMPTS / f"rewrite-{language}.toml"
    return msgspec.toml.decode(path.read_bytes(), type=RewritePrompt)


class QuestionRewriter:
    """Rewrites with one decoder. Safe for several event loops and threads, as its model is."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def rewrite(self, history: Sequence[ChatMessage], question: str) -> str:
        """The question by itself; as it was asked where the decoder wrote none, or did not come to an end.

        history: the turns before it, the oldest first; the latest that find room are shown. Cancelling stops
        the decoder at its next token. Raises what `ChatModel.chat` raises, and InvalidInput with the field
        "question" when there is no room for it.
        """
        limit = min(REWRITE_TOKENS, self._model.context_tokens // 4)
        messages = build_rewrite_messages(self._model, history, question, limit)
        sampling = SamplingSettings(max_tokens=limit)
        text, complete = "", False
        async with aclosing(self._model.chat(messages, sampling)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, ChoiceDone):
                    complete = event.finish_reason == "stop"
                if complete := complete or _ends_line(text):
                    break
        return (read_question(text) if complete else "") or question


def build_rewrite_messages(
    model: ChatModel, history: Sequence[ChatMessage], question: str, answer_tokens: int
) -> tuple[ChatMessage, ...]:
    """The prompt: as many of the latest turns as there is room for, with the examples if they leave some."""
    prompt = rewrite_prompt(_language(history, question))
    budget = model.context_tokens - answer_tokens - min(_TEMPLATE_TOKENS, model.context_tokens // 16)
    examples = [turn for example in prompt.examples for turn in _example_turns(prompt, example)]
    lines = [_line(prompt, turn.role, turn.content) for turn in history[-MAX_TURNS:]]
    fixed = _cost(model, [prompt.system, prompt.question, question])
    newest = sum(model.count_tokens(line) for line in lines[-2:])
    if fixed + newest + _cost(model, [turn.content for turn in examples]) > budget:
        examples = []
    room = budget - fixed - _cost(model, [turn.content for turn in examples])
    shown = _latest(model, lines, room)
    if not shown:
        raise _no_room(question, fixed, budget)
    asked = ChatMessage("user", _ask(prompt, shown, question))
    return (ChatMessage("system", prompt.system), *examples, asked)


def read_question(text: str) -> str:
    """The question of what a decoder wrote: its first line, without thoughts, quotes and space around it."""
    lines = _THOUGHT.sub("", text, count=1).strip().splitlines()
    line = lines[0].strip() if lines else ""
    for opening, closing in _QUOTES:
        if len(line) > 2 and line.startswith(opening) and line.endswith(closing):
            line = line[1:-1].strip()
    return line if any(map(str.isalnum, line)) else ""


def _ends_line(text: str) -> bool:
    """Whether more text could not change the question."""
    if text.lstrip().startswith("<think>") and "</think>" not in text:
        return False
    return "\n" in _THOUGHT.sub("", text, count=1).lstrip()


def _language(history: Sequence[ChatMessage], question: str) -> Language:
    """Of the question; of the conversation for one without a word, such as `2024?`."""
    if any(map(str.isalpha, question)):
        return language_of(question)
    return language_of(" ".join(turn.content for turn in history[-MAX_TURNS:]))


def _line(prompt: RewritePrompt, role: str, content: str) -> str:
    """A turn on one line, so that no text of a document can pose as another turn."""
    flat = " ".join(content.split())
    cut = flat if len(flat) <= MAX_TURN_CHARS else flat[: MAX_TURN_CHARS - 1] + "…"
    return fill(prompt.user if role == "user" else prompt.assistant, {"text": cut})


def _ask(prompt: RewritePrompt, lines: Sequence[str], question: str) -> str:
    flat = " ".join(question.split())
    return fill(prompt.question, {"conversation": "\n".join(lines), "question": flat})


def _example_turns(prompt: RewritePrompt, example: RewriteExample) -> tuple[ChatMessage, ChatMessage]:
    lines = [_line(prompt, turn.role, turn.content) for turn in example.conversation]
    asked = ChatMessage("user", _ask(prompt, lines, example.question))
    return asked, ChatMessage("assistant", example.standalone)


def _cost(model: ChatModel, texts: Sequence[str]) -> int:
    return sum(model.count_tokens(text) + MESSAGE_TOKENS for text in texts)


def _latest(model: ChatModel, lines: Sequence[str], room: int) -> list[str]:
    shown: list[str] = []
    for line in reversed(lines):
        room -= model.count_tokens(line) + 1  # the line break
        if room < 0:
            break
        shown.insert(0, line)
    return shown


def _no_room(question: str, fixed: int, budget_tokens: int) -> InvalidInput:
    return InvalidInput(
        f"the question and its prompt take {fixed} tokens, which leaves no room for the conversation",
        field="question",
        found=f"{len(question)} characters, with the prompt {fixed} tokens",
        expected=f"room for an earlier turn within {budget_tokens} tokens",
        next_step="ask a shorter question, or one that stands by itself, without a history",
    )
