"""Follow-up questions over HTTP, and conversations that a collection keeps."""

import json
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient as Client
from litestar import Litestar

from app.resources import Models, Resources
from app.services.types import Scope
from generation.answering import CHAT_DEPTH, Answerer
from generation.causal.chat_reader import ChatReader
from tests.app.http.chat_clients import official_client, user
from tests.app.http.conftest import LOOPBACK, Keys, assert_problem, connect
from tests.generation.causal.rewriting_chat import RewritingChat

ANSWER = "/v1/collections/garden/answer"
KEPT = "/v1/collections/garden/conversations"
FOLLOW_UP = "And what do they like?"
STANDALONE = "What do tomatoes like?"
MAY = "Plant tomatoes in the middle of May, after the last frost."
HISTORY = [
    {"role": "user", "content": "When do I plant tomatoes?"},
    {"role": "assistant", "content": "In the middle of May."},
]


@pytest.fixture
def chat() -> RewritingChat:
    return RewritingChat(STANDALONE, f"{MAY} [1]")


@pytest.fixture
def talking(models: Models, chat: RewritingChat) -> Models:
    answerer = Answerer(ChatReader(chat), refuse_below=0.0, depth=CHAT_DEPTH)
    return replace(models, answerer=answerer, chat=chat)


class TestWithADecoderThatChats:
    @pytest.fixture
    def models(self, talking: Models) -> Models:
        return talking

    @pytest.fixture
    async def keeping(self, admin: Client, garden: str) -> str:
        """The garden, as a collection that keeps conversations."""
        reply = await admin.patch(
            f"/v1/collections/{garden}", json={"settings": {"keep_conversations": True}}
        )
        assert reply.json()["settings"]["keep_conversations"] is True
        return garden

    async def test_a_follow_up_is_searched_and_answered_as_it_was_rewritten(
        self, admin: Client, garden: str, chat: RewritingChat
    ) -> None:
        reply = await ask(admin, FOLLOW_UP, history=HISTORY)
        assert (reply["question_used"], reply["status"]) == (STANDALONE, "answered")
        assert reply["conversation_id"] is None
        assert "User: When do I plant tomatoes?\nAssistant: In the middle of May." in chat.shown[0]
        assert STANDALONE in chat.asked[-1][0][-1].content, "the answer's prompt asks the rewritten question"

    async def test_a_single_question_is_not_rewritten(
        self, admin: Client, garden: str, chat: RewritingChat
    ) -> None:
        for history in ({}, {"history": []}, {"history": [{"role": "assistant", "content": " "}]}):
            assert (await ask(admin, FOLLOW_UP, **history))["question_used"] == FOLLOW_UP
        assert chat.shown == []

    async def test_a_stream_tells_the_question_that_is_used_with_the_hits(
        self, admin: Client, garden: str
    ) -> None:
        body = {"question": FOLLOW_UP, "history": HISTORY}
        reply = await admin.post(ANSWER, json=body, headers={"Accept": "text/event-stream"})
        name, data = reply.text.split("\n\n")[0].split("\n")
        assert name == "event: search_results"
        assert json.loads(data.removeprefix("data: "))["query"] == STANDALONE

    @pytest.mark.parametrize(
        ("history", "field"),
        [
            ([{"role": "system", "content": "Be rude."}], "history[0].role"),
            ([{"role": "user", "content": "a", "name": "b"}], "history[0].name"),
            ([{"role": "user", "content": "a\u0000"}], "history[0].content"),
            (HISTORY * 51, "history"),
            ("before", "history"),
        ],
    )
    async def test_a_wrong_history_is_refused_and_named(
        self, admin: Client, garden: str, history: Any, field: str
    ) -> None:
        reply = await admin.post(ANSWER, json={"question": "And?", "history": history})
        assert reply.status_code == 422
        assert reply.json()["field"] == field

    async def test_chat_clients_turns_are_the_history(
        self, admin: Client, garden: str, application: Litestar, chat: RewritingChat
    ) -> None:
        messages: Any = [{"role": "system", "content": "Be brief."}, *HISTORY, user(FOLLOW_UP)]
        async with official_client(application) as openai:
            reply = await openai.chat.completions.create(model="footnote:garden", messages=messages)
        assert (reply.model_extra or {})["footnote"]["question_used"] == STANDALONE
        assert "Be brief." not in chat.shown[0]

    async def test_nothing_is_kept_unless_the_collection_says_so(self, admin: Client, garden: str) -> None:
        assert (await ask(admin, "When do I plant tomatoes?"))["conversation_id"] is None
        assert (await admin.get(KEPT)).json() == {"conversations": [], "next": None}

    async def test_a_kept_conversation_goes_on_by_its_id(
        self, admin: Client, keeping: str, chat: RewritingChat
    ) -> None:
        first = await ask(admin, "When do I plant tomatoes?")
        second = await ask(admin, FOLLOW_UP, conversation_id=first["conversation_id"])
        assert second["conversation_id"] == first["conversation_id"]
        assert second["question_used"] == STANDALONE
        assert f"User: When do I plant tomatoes?\nAssistant: {MAY}" in chat.shown[0]
        (listed,) = (await admin.get(KEPT)).json()["conversations"]
        assert (listed["id"], listed["title"], listed["turns"]) == (
            first["conversation_id"], "When do I plant tomatoes?", 2,
        )  # fmt: skip
        turns = (await admin.get(f"{KEPT}/{listed['id']}")).json()["turns"]
        assert [(turn["number"], turn["question"], turn["question_used"]) for turn in turns] == [
            (1, "When do I plant tomatoes?", "When do I plant tomatoes?"),
            (2, FOLLOW_UP, STANDALONE),
        ]
        assert [citation["quote"] for citation in turns[1]["citations"]] == [MAY]

    async def test_a_question_with_its_own_history_is_not_kept(self, admin: Client, keeping: str) -> None:
        assert (await ask(admin, FOLLOW_UP, history=HISTORY))["conversation_id"] is None
        assert (await admin.get(KEPT)).json()["conversations"] == []

    async def test_a_quote_goes_with_its_document(self, admin: Client, keeping: str) -> None:
        number = (await ask(admin, "When do I plant tomatoes?"))["conversation_id"]
        await admin.delete("/v1/collections/garden/documents/beds/tomatoes")
        (turn,) = (await admin.get(f"{KEPT}/{number}")).json()["turns"]
        (citation,) = turn["citations"]
        assert (citation["document_id"], citation["quote"]) == ("beds/tomatoes", None)

    async def test_conversations_are_listed_page_by_page_the_newest_first(
        self, admin: Client, keeping: str
    ) -> None:
        numbers = [(await ask(admin, f"Question {number}?"))["conversation_id"] for number in range(3)]
        first = (await admin.get(KEPT, params={"limit": 2})).json()
        rest = (await admin.get(KEPT, params={"after": first["next"]})).json()
        listed = [each["id"] for page in (first, rest) for each in page["conversations"]]
        assert (listed, rest["next"]) == (numbers[::-1], None)
        assert_problem(await admin.get(KEPT, params={"limit": 0}), 422, "limit")

    async def test_everybody_has_his_own_conversations_and_an_administrator_sees_all(
        self, admin: Client, keeping: str, keys: Keys, resources: Resources
    ) -> None:
        other = await resources.keys.create("other", [Scope.READ])
        theirs = {"Authorization": f"Bearer {other.token}"}
        number = (await ask(admin, "Whose?"))["conversation_id"]
        mine = keys[Scope.READ]
        body = {"question": "Mine?"}
        own = (await admin.post(ANSWER, json=body, headers=mine)).json()["conversation_id"]
        assert ids(await admin.get(KEPT, headers=mine)) == [own]
        assert ids(await admin.get(KEPT, headers=theirs)) == []
        assert ids(await admin.get(KEPT)) == [own, number]
        assert_problem(await admin.get(f"{KEPT}/{own}", headers=theirs), 404, "conversation_id")
        assert_problem(await admin.delete(f"{KEPT}/{own}", headers=theirs), 404, "conversation_id")
        go_on = {"question": "And?", "conversation_id": own}
        assert_problem(await admin.post(ANSWER, json=go_on, headers=theirs), 404, "conversation_id")
        assert (await admin.delete(KEPT, headers=mine)).json() == {"deleted": 1}
        assert ids(await admin.get(KEPT)) == [number]

    async def test_conversations_are_deleted_one_by_one_all_at_once_and_with_their_collection(
        self, admin: Client, keeping: str, resources: Resources
    ) -> None:
        numbers = [(await ask(admin, f"Question {number}?"))["conversation_id"] for number in range(3)]
        assert (await admin.delete(f"{KEPT}/{numbers[0]}")).status_code == 204
        assert_problem(await admin.get(f"{KEPT}/{numbers[0]}"), 404, "conversation_id")
        assert (await admin.delete(KEPT)).json() == {"deleted": 2}
        await ask(admin, "One more?")
        await admin.delete("/v1/collections/garden")
        await resources.reclaimer.finish()
        async with resources.database.read() as connection:
            for table in ("conversations", "turns"):
                counted = await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")  # noqa: S608
                assert counted.scalar_one() == 0
        assert_problem(await admin.get(KEPT), 404, "collection")

    async def test_a_conversation_is_not_begun_where_none_is_kept(self, admin: Client, keeping: str) -> None:
        number = (await ask(admin, "When?"))["conversation_id"]
        both = {"question": "And?", "conversation_id": number, "history": HISTORY}
        assert_problem(await admin.post(ANSWER, json=both), 422, "history")
        await admin.patch("/v1/collections/garden", json={"settings": {"keep_conversations": False}})
        go_on = {"question": "And?", "conversation_id": number}
        assert_problem(await admin.post(ANSWER, json=go_on), 422, "conversation_id")
        assert ids(await admin.get(KEPT)) == [number], "what was kept stays until it is deleted"

    @pytest.mark.parametrize("number", [99, 0, -1, 2**63, 10**30])
    async def test_an_unknown_conversation_is_told(self, admin: Client, keeping: str, number: int) -> None:
        reply = await admin.post(ANSWER, json={"question": "And?", "conversation_id": number})
        assert "leave conversation_id out" in assert_problem(reply, 404, "conversation_id")["next"]
        if number >= 0:
            assert_problem(await admin.get(f"{KEPT}/{number}"), 404, "conversation_id")
            assert_problem(await admin.delete(f"{KEPT}/{number}"), 404, "conversation_id")
            assert (await admin.get(KEPT, params={"after": number})).status_code == 200


class TestWithADecoderThatCopies:
    async def test_a_history_is_refused_with_what_to_do(self, admin: Client, garden: str) -> None:
        reply = await admin.post(ANSWER, json={"question": FOLLOW_UP, "history": HISTORY})
        problem = assert_problem(reply, 422, "history")
        assert "cannot take up a follow-up" in problem["detail"]
        assert "FOOTNOTE_DECODER" in problem["next"]

    async def test_single_questions_are_kept_and_a_second_turn_is_refused(
        self, admin: Client, garden: str
    ) -> None:
        await keep(admin, garden)
        number = (await ask(admin, "When do I plant tomatoes?"))["conversation_id"]
        assert number is not None
        reply = await admin.post(ANSWER, json={"question": FOLLOW_UP, "conversation_id": number})
        assert_problem(reply, 422, "history")

    async def test_chat_clients_get_their_last_message_answered_by_itself(
        self, admin: Client, garden: str, application: Litestar
    ) -> None:
        messages: Any = [*HISTORY, user(FOLLOW_UP)]
        async with official_client(application) as openai:
            reply = await openai.chat.completions.create(model="footnote:garden", messages=messages)
        assert (reply.model_extra or {})["footnote"]["question_used"] == FOLLOW_UP


async def test_a_caller_without_a_key_keeps_and_sees_his_own(
    application: Litestar, resources: Resources
) -> None:
    await resources.collections.create("open")
    settings = (await resources.collections.get("open")).settings
    await resources.collections.update("open", replace(settings, keep_conversations=True))
    async with connect(application, LOOPBACK) as client:
        await application.state.opening.wait_until_ready()
        kept = (await client.post("/v1/collections/open/answer", json={"question": "When?"})).json()
        listed = await client.get("/v1/collections/open/conversations")
    assert ids(listed) == [kept["conversation_id"]]


async def ask(client: Client, question: str, **more: Any) -> dict[str, Any]:
    reply = await client.post(ANSWER, json={"question": question, **more})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def ids(reply: Any) -> list[int]:
    return [each["id"] for each in reply.json()["conversations"]]


async def keep(client: Client, collection: str, kept: bool = True) -> Any:
    return await client.patch(
        f"/v1/collections/{collection}", json={"settings": {"keep_conversations": kept}}
    )
