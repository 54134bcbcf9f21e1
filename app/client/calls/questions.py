"""Searches, answers, and what people thought of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.client.admin_replies import Feedback
from app.client.call import EVENT_STREAM, Call, given
from app.client.calls.collections import collection_path
from app.client.conversation_replies import Conversation, Conversations
from app.client.replies import (
    Answer,
    Deleted,
    FeedbackKind,
    Found,
    Map,
    Mode,
)


def search(  # noqa: PLR0913  # one for each field of the request
    collection: str,
    query: str,
    *,
    mode: Mode | None = None,
    limit: int | None = None,
    offset: int | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002
    explain: bool | None = None,
    fusion: Mapping[str, Any] | None = None,
    diversity: float | None = None,
    min_score: float | None = None,
    merge_neighbours: bool | None = None,
    rerank: bool | None = None,
    rerank_candidates: int | None = None,
) -> Call[Found]:
    """Passages that matter for the query, best first. explain: give the scores behind each hit.

    What is left out is as the service and the collection say.
    """
    body = given(
        query=query, mode=mode, limit=limit, offset=offset, filter=filter, explain=explain, fusion=fusion,
        diversity=diversity, min_score=min_score, merge_neighbours=merge_neighbours, rerank=rerank,
        rerank_candidates=rerank_candidates,
    )  # fmt: skip
    return Call("POST", collection_path(collection, "/search"), Found, body=body)


def answer(  # noqa: PLR0913  # one for each field of the request
    collection: str,
    question: str,
    *,
    passages: int | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002
    mode: Mode | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    max_tokens: int | None = None,
    stop: Sequence[str] | None = None,
    explain: bool | None = None,
    rerank: bool | None = None,
    history: Sequence[Mapping[str, str]] | None = None,
    conversation_id: int | None = None,
) -> Call[Answer]:
    """Answer from the collection, with footnotes, or say that it is not there: look at `status`.

    history: what was said before, as `{"role": "user" or "assistant", "content"}`; conversation_id: a kept
    conversation that this question goes on with. Both need a decoder that chats.
    """
    body = given(
        question=question, passages=passages, filter=filter, mode=mode, temperature=temperature, top_k=top_k,
        top_p=top_p, seed=seed, max_tokens=max_tokens, stop=stop, explain=explain, rerank=rerank,
        history=history, conversation_id=conversation_id,
    )  # fmt: skip
    return Call("POST", collection_path(collection, "/answer"), Answer, body=body)


def as_events(call: Call[Answer]) -> Call[Answer]:
    """The same question, answered as a stream of events."""
    return Call(call.method, call.path, call.reply, body=call.body, accept=EVENT_STREAM)


def list_conversations(
    collection: str, *, limit: int | None = None, after: int | None = None
) -> Call[Conversations]:
    """One page of the conversations that the collection has kept. after: `next` of the page before."""
    query = {"limit": limit, "after": after}
    return Call("GET", collection_path(collection, "/conversations"), Conversations, query)


def get_conversation(collection: str, conversation_id: int) -> Call[Conversation]:
    """One conversation with its turns."""
    return Call("GET", collection_path(collection, f"/conversations/{conversation_id}"), Conversation)


def delete_conversation(collection: str, conversation_id: int) -> Call[None]:
    """Delete one conversation."""
    return Call("DELETE", collection_path(collection, f"/conversations/{conversation_id}"), type(None))


def delete_conversations(collection: str) -> Call[Deleted]:
    """Delete all conversations of a collection."""
    return Call("DELETE", collection_path(collection, "/conversations"), Deleted)


def get_map(collection: str, *, points: int | None = None, field: str | None = None) -> Call[Map]:
    """The passages of a collection as points of a map. field: a metadata field whose values are told."""
    query = {"points": points, "field": field}
    return Call("GET", collection_path(collection, "/map"), Map, query)


def add_feedback(
    collection: str,
    query: str,
    kind: FeedbackKind,
    document_id: str,
    *,
    version: int | None = None,
    start: int | None = None,
    end: int | None = None,
    release: int | None = None,
) -> Call[Feedback]:
    """Keep what somebody thought of a document that was found; trainings learn from it."""
    body = given(
        query=query, kind=kind, document_id=document_id, version=version, start=start, end=end,
        release=release,
    )  # fmt: skip
    return Call("POST", collection_path(collection, "/feedback"), Feedback, body=body)
