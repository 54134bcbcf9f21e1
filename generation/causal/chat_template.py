"""Chat templates: a conversation as the one text that a decoder was trained to continue.

The templates come with models, from anywhere, so they run in a sandbox, with what transformers gives them
and nothing else (transformers 5, utils/chat_template_utils.py).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from embeddings.errors import InvalidInput, ModelDamaged
from generation.causal.chat import ChatMessage

# For models without a template: most of them were never trained to chat, and continue plain text best.
PLAIN_TEMPLATE = """\
{% for message in messages %}
{{ {"system": "", "user": "User: ", "assistant": "Assistant: "}[message.role] }}{{ message.content }}

{% endfor %}
{% if add_generation_prompt %}
Assistant:{% endif %}"""
PLAIN_STOP = ("\nUser:",)


class _RefusedError(TemplateError):
    """The template calls raise_exception: it doesn't take such messages."""


class ChatTemplate:
    """A compiled chat template.

    source: Jinja; None: the plain one. bos, eos: the texts of those tokens, for templates that name them.
    stop: texts at which an answer has to end, because the decoder would go on with the user's next turn.
    Raises ModelDamaged for a template that is not Jinja.
    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        self.is_plain = source is None
        self.stop: tuple[str, ...] = PLAIN_STOP if source is None else ()
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(PLAIN_TEMPLATE if source is None else source)
        except TemplateSyntaxError as error:
            raise _damaged(f"{error.message} in line {error.lineno}") from error

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The prompt, up to where the answer begins.

        A template without a place for a system message gets it at the head of the first user message.
        Raises InvalidInput for messages that the template refuses, ModelDamaged when the template fails.
        """
        if not messages:
            raise _refused("there are no messages", "none", "one message or more")
        try:
            return self._render(messages)
        except _RefusedError as refusal:
            if messages[0].role != "system" or len(messages) < 2 or messages[1].role != "user":
                raise _refused(str(refusal), _roles(messages), "roles that the template takes") from refusal
        try:
            return self._render(_without_system(messages))
        except _RefusedError as refusal:
            raise _refused(str(refusal), _roles(messages), "roles that the template takes") from refusal

    def _render(self, messages: Sequence[ChatMessage]) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._template.render(messages=turns, add_generation_prompt=True, **self._tokens)
        except _RefusedError:
            raise
        except Exception as error:  # a template is a program, and can fail in every way that one can
            raise _damaged(f"{type(error).__name__}: {error}") from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda pattern: datetime.now().astimezone().strftime(pattern)
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """Jinja's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise _RefusedError(message)


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system, first, *rest = messages
    return [ChatMessage("user", f"{system.content}\n\n{first.content}"), *rest]


def _roles(messages: Sequence[ChatMessage]) -> str:
    return ", ".join(message.role for message in messages)


def _refused(reason: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"the decoder does not take these messages: {reason}"[:500],
        field="messages",
        found=found[:200],
        expected=expected,
    )


def _damaged(reason: str) -> ModelDamaged:
    return ModelDamaged(
        f"the chat template of the decoder fails: {reason}"[:500],
        found=reason[:200],
        expected="a Jinja template that renders messages",
        next_step="correct chat_template in the source model and convert it again",
    )
