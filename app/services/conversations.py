"""Questions that follow one another, kept where their collection says so."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from app.services.answers import AnswerService
from app.services.conversation_types import Asker, NewTurn, Turn
from app.services.kept_conversations import KeptConversations
from app.services.types import AnswerEvent, AnswerInput, AnswerOutput
from embeddings.errors import InvalidInput
from generation.causal.chat import ChatMessage
from generation.causal.rewriting import MAX_TURNS


class ConversationService:
    """Answers with what was asked before in mind. kept: what collections keep of it."""

    def __init__(self, kept: KeptConversations, answers: AnswerService) -> None:
        self.kept = kept
        self._answers = answers

    async def answer(
        self, name: str, wanted: AnswerInput, asker: Asker, conversation_id: int | None = None
    ) -> AsyncGenerator[AnswerEvent, None]:
        """As `AnswerService.answer`. Where the collection keeps conversations the turn is kept before the
        `AnswerOutput` is told, with the conversation's id: a new one, unless one is given.

        A question that brings its own history is not kept: its asker keeps the conversation. Raises, before
        the first event, NotFound for the conversation, and InvalidInput for one beside a history and for one
        in a collection that keeps none.
        """
        said = await self.kept.said(name, asker, conversation_id, MAX_TURNS)
        if conversation_id is not None:
            _check_request(wanted, said.keeps, name, conversation_id)
            wanted = replace(wanted, history=tuple(each for turn in said.turns for each in messages_of(turn)))
        kept = said.keeps and (conversation_id is not None or not wanted.history)
        async with aclosing(self._answers.answer(name, wanted)) as events:
            async for event in events:
                if kept and isinstance(event, AnswerOutput):
                    number = await self.kept.add(name, asker, conversation_id, _turn_of(wanted, event))
                    yield replace(event, conversation_id=number)
                else:
                    yield event


def messages_of(turn: Turn) -> list[ChatMessage]:
    """What was said: the question as it was understood, and the answer where there was one."""
    asked = ChatMessage("user", turn.question_used)
    return [asked] if turn.answer is None else [asked, ChatMessage("assistant", turn.answer)]


def _turn_of(wanted: AnswerInput, output: AnswerOutput) -> NewTurn:
    answer = output.answer
    return NewTurn(
        question=wanted.question,
        question_used=output.search.query,
        status=answer.status,
        answer=answer.text,
        citations=answer.citations,
        release=output.search.release,
    )


def _check_request(wanted: AnswerInput, keeps: bool, name: str, conversation_id: int) -> None:
    if wanted.history:
        raise InvalidInput(
            "a kept conversation has its own history",
            field="history",
            found=f"{len(wanted.history)} turns beside conversation_id {conversation_id}",
            expected="history or conversation_id, not both",
            next_step="leave one of them out",
        )
    if not keeps:
        raise InvalidInput(
            f"the collection {name!r} keeps no conversations",
            field="conversation_id",
            found=str(conversation_id),
            expected="no conversation_id",
            next_step="send the earlier turns as history, or set keep_conversations in the collection",
        )
