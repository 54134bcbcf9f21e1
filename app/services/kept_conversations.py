"""Conversations that collections keep: begun, continued, shown and removed."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import find_collection
from app.db.conversations import (
    add_turn,
    begin_conversation,
    find_conversation,
    latest_turns,
    list_conversations,
    read_turns,
    remove_conversations,
)
from app.db.engine import Database
from app.services.conversation_types import (
    Asker,
    Conversation,
    ConversationInfo,
    ConversationPage,
    NewTurn,
    Turn,
)
from app.services.metadata import MAX_INTEGER
from embeddings.errors import InvalidInput, NotFound

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Said:
    """What a collection keeps. turns: the latest of the conversation, the oldest first."""

    keeps: bool
    turns: tuple[Turn, ...] = ()


class KeptConversations:
    """Everybody sees and removes his own; what somebody may not see is not there for him."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def said(self, name: str, asker: Asker, conversation_id: int | None, turns: int) -> Said:
        """Whether the collection keeps conversations, and the latest turns of this one. Raises NotFound."""
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            keeps = collection.settings.keep_conversations
            if conversation_id is None or not keeps:
                return Said(keeps)
            await _find(connection, collection.id, asker, name, conversation_id)
            return Said(keeps, tuple(await latest_turns(connection, conversation_id, turns)))

    async def add(self, name: str, asker: Asker, conversation_id: int | None, turn: NewTurn) -> int:
        """Keep a turn; returns its conversation's id: of a new one where None is given.

        Raises NotFound when the conversation or the collection was deleted meanwhile.
        """
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            if conversation_id is None:
                conversation_id = await begin_conversation(connection, collection.id, asker)
            else:
                await _find(connection, collection.id, asker, name, conversation_id)
            await add_turn(connection, conversation_id, turn)
        return conversation_id

    async def list(
        self, name: str, asker: Asker, limit: int = 100, after: int | None = None
    ) -> ConversationPage:
        """A page of conversations, the newest first; `after` this one in that order.

        Raises NotFound, InvalidInput.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"limit is {limit}; expected 1 to {MAX_PAGE}",
                field="limit",
                found=str(limit),
                expected=f"1 to {MAX_PAGE}",
            )
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            beyond = None if after is None else _storable(after)
            found = await list_conversations(connection, collection.id, asker, limit + 1, beyond)
        page = tuple(found[:limit])
        return ConversationPage(page, page[-1].id if len(found) > limit else None)

    async def get(self, name: str, asker: Asker, conversation_id: int) -> Conversation:
        """One conversation with its turns. Raises NotFound."""
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            info = await _find(connection, collection.id, asker, name, conversation_id)
            return Conversation(info, tuple(await read_turns(connection, collection.id, info.id)))

    async def remove(self, name: str, asker: Asker, conversation_id: int | None = None) -> int:
        """Remove one conversation, or all that the asker may see; returns how many. Raises NotFound."""
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            wanted = None if conversation_id is None else _storable(conversation_id)
            count = await remove_conversations(connection, collection.id, asker, wanted)
        if conversation_id is not None and not count:
            raise _no_such_conversation(name, conversation_id)
        return count


async def _find(
    connection: AsyncConnection, collection_id: int, asker: Asker, name: str, conversation_id: int
) -> ConversationInfo:
    info = await find_conversation(connection, collection_id, asker, _storable(conversation_id))
    if info is None:
        raise _no_such_conversation(name, conversation_id)
    return info


def _storable(number: int) -> int:
    """The number, or the nearest that the database takes, which no conversation has."""
    return max(0, min(number, MAX_INTEGER))


def _no_such_conversation(name: str, conversation_id: int) -> NotFound:
    return NotFound(
        f"the collection {name!r} has no conversation {conversation_id}",
        field="conversation_id",
        found=str(conversation_id),
        expected="the id of a conversation",
        next_step="leave conversation_id out to begin a new one",
    )
