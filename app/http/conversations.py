"""Routes for kept conversations: everybody reads and deletes his own, an administrator all."""

from typing import Annotated, Any

from litestar import Controller, Request, delete, get
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from app.http.access import principal_of
from app.http.collections import CollectionName
from app.http.conversation_schemas import ConversationList, ConversationReply, RemovedConversations
from app.http.problems import problem_responses
from app.resources import Resources
from app.services.conversation_types import Asker
from app.services.types import Scope

ConversationId = Annotated[int, PathParameter(description="Id of the conversation")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 1000")]
After = Annotated[int | None, QueryParameter(description="`next` of the page before")]


def _asker(request: Request[Any, Any, Any]) -> Asker:
    return Asker.of(principal_of(request))


class ConversationController(Controller):
    """Look at conversations of collections that keep them, and delete them."""

    path = "/collections/{name:str}/conversations"
    tags = ("Answer",)

    @get(summary="List the conversations", responses=problem_responses(404))
    async def list_conversations(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        resources: NamedDependency[Resources],
        limit: Limit = 100,
        after: After = None,
    ) -> ConversationList:
        """One page of the caller's conversations, the newest first; an administrator sees everybody's."""
        page = await resources.conversations.kept.list(name, _asker(request), limit, after)
        return ConversationList.of(page)

    @get("/{conversation_id:int}", summary="Show a conversation", responses=problem_responses(404))
    async def get_conversation(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        conversation_id: ConversationId,
        resources: NamedDependency[Resources],
    ) -> ConversationReply:
        """One conversation with its turns. A quote is read from the document: it goes with it."""
        found = await resources.conversations.kept.get(name, _asker(request), conversation_id)
        return ConversationReply.of(found)

    @delete(
        "/{conversation_id:int}",
        scope=Scope.READ,
        summary="Delete a conversation",
        responses=problem_responses(404),
    )
    async def delete_conversation(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        conversation_id: ConversationId,
        resources: NamedDependency[Resources],
    ) -> None:
        """Delete one of the caller's conversations, for good."""
        await resources.conversations.kept.remove(name, _asker(request), conversation_id)

    @delete(
        scope=Scope.READ,
        status_code=200,
        summary="Delete the conversations",
        responses=problem_responses(404),
    )
    async def delete_conversations(
        self, request: Request[Any, Any, Any], name: CollectionName, resources: NamedDependency[Resources]
    ) -> RemovedConversations:
        """Delete all of the caller's conversations; an administrator deletes everybody's."""
        return RemovedConversations(await resources.conversations.kept.remove(name, _asker(request)))
