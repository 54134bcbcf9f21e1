"""Answers of decoders that chat, with the prompt of the collection."""

from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient as Client

from app.resources import Models
from generation.answering import CHAT_DEPTH, Answerer
from generation.causal.chat_reader import ChatReader
from tests.generation.causal.scripted_chat import ScriptedChat

MINE = {
    "name": "mine",
    "system": "Отвечай.",
    "not_found": "Nothing.",
    "examples": [{"question": "Why?", "answer": "So.", "passages": []}],
}


@pytest.fixture
def chat() -> ScriptedChat:
    return ScriptedChat(
        "Plant tomatoes in the middle of May, after the last frost. [1] Never water them. [2]"
    )


@pytest.fixture
def models(models: Models, chat: ScriptedChat) -> Models:
    answerer = Answerer(ChatReader(chat), refuse_below=0.0, depth=CHAT_DEPTH)
    return replace(models, answerer=answerer, chat=chat)


async def ask(client: Client, question: str) -> dict[str, Any]:
    reply = await client.post("/v1/collections/garden/answer", json={"question": question})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


async def test_a_chat_decoder_answers_with_checked_citations_and_tells_its_prompt(
    admin: Client, garden: str
) -> None:
    answer = await ask(admin, "When do I plant tomatoes?")
    assert answer["status"] == "answered"
    assert answer["answer"] == "Plant tomatoes in the middle of May, after the last frost. Never water them."
    assert [(each["supported"], each["citations"]) for each in answer["sentences"]] == [
        (True, [1]),
        (False, []),
    ]
    assert answer["citations"][0]["quote"] == "Plant tomatoes in the middle of May, after the last frost."
    assert answer["prompt"] == {
        "template": "cited-en", "passages": 2, "examples": 2, "dropped_passages": 0, "dropped_examples": 0,
        "cut": False,
    }  # fmt: skip
    assert (await ask(admin, "Когда убирать снег?"))["prompt"]["template"] == "cited-ru"


async def test_a_collection_s_own_prompt_is_used_until_it_is_taken_away(
    admin: Client, garden: str, chat: ScriptedChat
) -> None:
    changed = await admin.patch("/v1/collections/garden", json={"settings": {"prompt": MINE}})
    assert changed.json()["settings"]["prompt"] == {
        **MINE,
        "passage": "[{number}] {text}",
        "question": "{passages}\n\n{question}",
        "decoding": "auto",
    }
    assert (await ask(admin, "When?"))["prompt"]["template"] == "mine"
    messages = chat.asked[-1][0]
    assert messages[0].content == "Отвечай."
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    chat.text = "Nothing."
    assert (await ask(admin, "When?"))["status"] == "not_found"
    await admin.patch("/v1/collections/garden", json={"settings": {"prompt": None}})
    assert (await ask(admin, "When?"))["prompt"]["template"] == "cited-en"


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        ({**MINE, "passage": "{text}"}, "settings.prompt.passage"),
        ({**MINE, "colour": "red"}, "settings.prompt.colour"),
        ({"name": "mine"}, "settings.prompt"),
        ({**MINE, "decoding": "wild"}, "settings.prompt.decoding"),
    ],
)
async def test_a_prompt_that_cannot_serve_is_refused_and_named(
    admin: Client, garden: str, prompt: dict[str, Any], field: str
) -> None:
    reply = await admin.patch("/v1/collections/garden", json={"settings": {"prompt": prompt}})
    assert reply.status_code == 422
    assert reply.json()["field"].startswith(field.rsplit(".", 1)[0])
    assert (await admin.get("/v1/collections/garden")).json()["settings"]["prompt"] is None
