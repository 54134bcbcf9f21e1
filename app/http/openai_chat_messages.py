"""What a chat request may ask for, and its messages as the decoder takes them."""

from collections.abc import Sequence
from typing import Any

from app.http.openai_chat_schemas import ChatRequest, ContentPart, Message
from embeddings.errors import InvalidInput, TooLarge
from generation.causal.chat import ChatMessage, Role

MAX_MESSAGES = 1000
# Fields by which clients ask for what is not there, and the values that ask for nothing.
_REFUSED: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "modalities": (None, [], ["text"]),
    "audio": (None,),
    "web_search_options": (None,),
}
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def refuse_features(asked: ChatRequest) -> None:
    """Raise InvalidInput for tools, audio and other things that are not served here."""
    for field, nothing in _REFUSED.items():
        if getattr(asked, field) not in nothing:
            raise InvalidInput(
                f"{field} is not served here: the decoder writes text and calls no tools",
                field=field,
                found=field,
                expected="a request without it",
                next_step=f"leave {field} out",
            )


def read_messages(messages: Sequence[Message]) -> tuple[ChatMessage, ...]:
    """The conversation. Raises InvalidInput for what is not text, TooLarge for too many messages."""
    if not messages:
        raise InvalidInput(
            "messages is an empty list", field="messages", found="[]", expected="at least one message"
        )
    if len(messages) > MAX_MESSAGES:
        raise TooLarge(
            f"messages has {len(messages)} items; one request takes at most {MAX_MESSAGES}",
            field="messages",
            found=f"{len(messages)} messages",
            expected=f"at most {MAX_MESSAGES} messages",
            next_step="leave the oldest out",
        )
    return tuple(_read(f"messages[{place}]", message) for place, message in enumerate(messages))


def question_of(messages: Sequence[ChatMessage]) -> str:
    """The last message, which has to be the user's. Raises InvalidInput."""
    last = messages[-1]
    if last.role != "user":
        raise InvalidInput(
            "the last message is not the user's: there is no question to ask the collection",
            field=f"messages[{len(messages) - 1}].role",
            found=last.role,
            expected="user",
        )
    return last.content


def said_before(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The turns before the last message, of user and assistant; instructions are none of them."""
    return tuple(message for message in messages[:-1] if message.role != "system")


def _read(field: str, message: Message) -> ChatMessage:
    role = _ROLES.get(message.role)
    if role is None or message.tool_calls or message.function_call:
        raise InvalidInput(
            f"{field} is about a tool; the decoder here calls no tools",
            field=f"{field}.role" if role is None else field,
            found=message.role if role is None else "a call of a tool",
            expected="one of " + ", ".join(_ROLES),
            next_step="leave it out",
        )
    return ChatMessage(role, _text_of(f"{field}.content", message.content))


def _text_of(field: str, content: str | list[ContentPart] | None) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        raise InvalidInput(
            f"{field} is missing", field=field, found="nothing", expected="a text, or a list of text parts"
        )
    return "\n".join(_part_text(f"{field}[{place}]", part) for place, part in enumerate(content))


def _part_text(field: str, part: ContentPart) -> str:
    if part.type != "text" or part.text is None:
        raise InvalidInput(
            f"{field} is of the type {part.type!r:.80}; only text is read here, no images, sound or files",
            field=f"{field}.type",
            found=f"{part.type:.80}" if part.type != "text" else "text without text",
            expected="text",
        )
    return part.text
